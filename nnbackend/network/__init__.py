"""The object that people hold: layers, parameters and a backend, which learn and predict."""

from nnbackend.network.load import load
from nnbackend.network.network import Network

__all__ = ["Network", "load"]
