"""From a torch model and adapters to a verified bundle."""
