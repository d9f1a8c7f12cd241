"""Datasets, samplers and the DataLoader, under the names of ``torch.utils.data``.

The README.md beside this file says what each file holds, follows one batch through them, and gives a
reading order.
"""

from accelgrad.utils.data.allocation import empty_batch
from accelgrad.utils.data.collation import (
    collate,
    default_collate,
    default_collate_fn_map,
    default_convert,
)
from accelgrad.utils.data.dataloader import DataLoader
from accelgrad.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from accelgrad.utils.data.distributed import DistributedSampler
from accelgrad.utils.data.info import WorkerInfo, get_worker_info, sample_generator
from accelgrad.utils.data.padding import Padded, pad_collate
from accelgrad.utils.data.sampler import (
    BatchSampler,
    LengthBucketBatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from accelgrad.utils.data.timeline import BatchRecord

__all__ = [
    "BatchRecord",
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "LengthBucketBatchSampler",
    "Padded",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "collate",
    "default_collate",
    "default_collate_fn_map",
    "default_convert",
    "empty_batch",
    "get_worker_info",
    "pad_collate",
    "random_split",
    "sample_generator",
]
