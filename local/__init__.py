"""The application on one machine: emulator, stand-ins, demo. Nothing here is deployed."""
