// Keeps what the page is made of, so that it opens without a network. `build.mjs` fills in the list and the time.
const NAME = "page-BUILT";
const FILES = SHELL;

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(NAME)
      .then((cache) => cache.addAll(FILES))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("page-") && name !== NAME;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

// bundles are not among these files: the runtime asks the network for them, and has its own store
self.addEventListener("fetch", (event) => {
  event.respondWith(caches.open(NAME).then(async (cache) => (await cache.match(event.request)) ?? fetch(event.request)));
});
