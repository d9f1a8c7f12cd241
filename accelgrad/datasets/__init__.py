"""Data sets, which a DataLoader reads: classes with ``__len__`` and ``__getitem__``.

=================  ====================================================  ======================
class              what a sample is                                      where it comes from
=================  ====================================================  ======================
``Digits``         (8 x 8 uint8, 0 ... 9), handwritten                   the package itself
``Glyphs``         (28 x 28 uint8, A ... J)                              drawn from fonts
``PythonManual``   (text, one of six chapters)                           the standard library
``NotMNIST``       (28 x 28 uint8, A ... J)                              fetched once
``MNIST``          (28 x 28 uint8, 0 ... 9)                              fetched once
``FashionMNIST``   (28 x 28 uint8, ten articles)                         fetched once
``ImageFolder``    (RGB ``PIL.Image``, the sub-folder's index)           your files
``DatasetFolder``  (what your loader makes, the sub-folder's index)      your files
=================  ====================================================  ======================

Images are NumPy arrays of uint8 in 0 ... 255; ``accelgrad.transforms.ToTensor`` makes float32 (C, H, W) in
0 ... 1 of them.  Files are kept under ``ACCELGRAD_HOME`` (``~/.cache/accelgrad`` by default).
"""

from accelgrad.datasets.archive import UnsafeArchiveError, extract
from accelgrad.datasets.base import ImageRecords
from accelgrad.datasets.cache import home
from accelgrad.datasets.digits import Digits
from accelgrad.datasets.downloader import DownloadError, RemoteFile, download
from accelgrad.datasets.folder import IMG_EXTENSIONS, DatasetFolder, ImageFolder, pil_loader
from accelgrad.datasets.glyphs import Glyphs
from accelgrad.datasets.idx import read_idx
from accelgrad.datasets.mnist import MNIST, FashionMNIST
from accelgrad.datasets.notmnist import NotMNIST
from accelgrad.datasets.text import PythonManual, Vocabulary, tokenize

__all__ = [
    # the sets
    "Digits",
    "Glyphs",
    "PythonManual",
    "NotMNIST",
    "MNIST",
    "FashionMNIST",
    "ImageFolder",
    "DatasetFolder",
    # to make your own
    "ImageRecords",
    "IMG_EXTENSIONS",
    "pil_loader",
    "read_idx",
    "Vocabulary",
    "tokenize",
    # fetching and keeping files
    "RemoteFile",
    "download",
    "DownloadError",
    "extract",
    "UnsafeArchiveError",
    "home",
]
