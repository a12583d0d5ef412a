"""The demo: a tour of the service as a client sees it, on a server that it starts and stops itself.

    tour ──► server            starts `onelayer serve` on a free port, stops it whatever happens
         ├─► linear            the first linear experiment
         └─► softmax           Fashion-MNIST
              └─► fashion_mnist  finds the four files or downloads them

Everything goes through HTTP; nothing of the service is imported.
"""

from app.demo.tour import run

__all__ = ["run"]
