__version__ = "15.1.3"
