"""How good an adapter is: on the torch model, and on the very artefact that ships."""
