// Two models, each in a worker of its own: one reads a sentence as it is typed, the other goes on from a beginning.
import { classify } from "./classifier.js";
import { write } from "./writer.js";

/** Names, examples and beginnings that whoever made the bundles wrote beside them; none are needed. */
async function described() {
  try {
    const response = await fetch("page.json");
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

/** What the page says of the network, once it does without. */
async function watchNetwork() {
  const status = document.getElementById("network");
  await navigator.serviceWorker?.ready;
  const tell = () => {
    status.dataset.state = navigator.onLine ? "kept" : "offline";
    status.textContent = navigator.onLine ? "Kept on this device: works offline" : "Offline, and working";
  };
  for (const event of ["online", "offline"]) addEventListener(event, tell);
  tell();
}

navigator.serviceWorker?.register("service.js").catch((error) => console.warn(`no service worker: ${error.message}`));
const page = await described();
await Promise.all([classify(page), write(page)]);
if (navigator.serviceWorker) await watchNetwork();
