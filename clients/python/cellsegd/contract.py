"""The contract's messages and enums, made from the descriptor that the package carries.

They live in a pool of their own: stubs that somebody else generated from the same contract may be imported beside them. What
they hold is said in `contract.pyi`, and what it means in proto/cellseg/v1/segmentation.proto.
"""

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2
from google.protobuf.internal import enum_type_wrapper

_FILE = "cellseg/v1/segmentation.proto"


def _load() -> None:
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(resources.files(__package__).joinpath("segmentation.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for known in (duration_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    contract = pool.FindFileByName(_FILE)
    names = globals()
    names["DESCRIPTOR"] = contract
    for name, message in contract.message_types_by_name.items():
        names[name] = message_factory.GetMessageClass(message)
    for name, enum in contract.enum_types_by_name.items():
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        for value in enum.values:
            names[value.name] = value.number


_load()
