import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_LOSSLESS: _ClassVar[Delivery]
    DELIVERY_LATEST: _ClassVar[Delivery]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_BACKGROUND: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_URGENT: _ClassVar[Priority]

class MaskEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_ENCODING_UNSPECIFIED: _ClassVar[MaskEncoding]
    MASK_ENCODING_NONE: _ClassVar[MaskEncoding]
    MASK_ENCODING_BITS: _ClassVar[MaskEncoding]
    MASK_ENCODING_COCO_RLE: _ClassVar[MaskEncoding]
    MASK_ENCODING_RINGS: _ClassVar[MaskEncoding]

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_UNSPECIFIED: _ClassVar[Compression]
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_ZLIB: _ClassVar[Compression]
    COMPRESSION_LZ4: _ClassVar[Compression]

class LabelBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_BY_UNSPECIFIED: _ClassVar[LabelBy]
    LABEL_BY_INSTANCE: _ClassVar[LabelBy]
    LABEL_BY_TRACK: _ClassVar[LabelBy]

class BorderRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BORDER_RULE_UNSPECIFIED: _ClassVar[BorderRule]
    BORDER_RULE_KEEP: _ClassVar[BorderRule]
    BORDER_RULE_DROP: _ClassVar[BorderRule]
    BORDER_RULE_UNBIASED: _ClassVar[BorderRule]

class PixelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_FORMAT_UNSPECIFIED: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO10: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO12: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO14: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO16: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO10P: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO12P: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO10PACKED: _ClassVar[PixelFormat]
    PIXEL_FORMAT_MONO12PACKED: _ClassVar[PixelFormat]
    PIXEL_FORMAT_RGB8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BGR8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_RGBA8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_BGRA8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_RGB16: _ClassVar[PixelFormat]

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_WARMING: _ClassVar[State]
    STATE_SERVING: _ClassVar[State]
    STATE_DEGRADED: _ClassVar[State]
    STATE_DOWN: _ClassVar[State]
    STATE_DRAINING: _ClassVar[State]
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_LOSSLESS: Delivery
DELIVERY_LATEST: Delivery
PRIORITY_UNSPECIFIED: Priority
PRIORITY_BACKGROUND: Priority
PRIORITY_NORMAL: Priority
PRIORITY_URGENT: Priority
MASK_ENCODING_UNSPECIFIED: MaskEncoding
MASK_ENCODING_NONE: MaskEncoding
MASK_ENCODING_BITS: MaskEncoding
MASK_ENCODING_COCO_RLE: MaskEncoding
MASK_ENCODING_RINGS: MaskEncoding
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_NONE: Compression
COMPRESSION_ZLIB: Compression
COMPRESSION_LZ4: Compression
LABEL_BY_UNSPECIFIED: LabelBy
LABEL_BY_INSTANCE: LabelBy
LABEL_BY_TRACK: LabelBy
BORDER_RULE_UNSPECIFIED: BorderRule
BORDER_RULE_KEEP: BorderRule
BORDER_RULE_DROP: BorderRule
BORDER_RULE_UNBIASED: BorderRule
PIXEL_FORMAT_UNSPECIFIED: PixelFormat
PIXEL_FORMAT_MONO8: PixelFormat
PIXEL_FORMAT_MONO10: PixelFormat
PIXEL_FORMAT_MONO12: PixelFormat
PIXEL_FORMAT_MONO14: PixelFormat
PIXEL_FORMAT_MONO16: PixelFormat
PIXEL_FORMAT_MONO10P: PixelFormat
PIXEL_FORMAT_MONO12P: PixelFormat
PIXEL_FORMAT_MONO10PACKED: PixelFormat
PIXEL_FORMAT_MONO12PACKED: PixelFormat
PIXEL_FORMAT_RGB8: PixelFormat
PIXEL_FORMAT_BGR8: PixelFormat
PIXEL_FORMAT_RGBA8: PixelFormat
PIXEL_FORMAT_BGRA8: PixelFormat
PIXEL_FORMAT_RGB16: PixelFormat
STATE_UNSPECIFIED: State
STATE_WARMING: State
STATE_SERVING: State
STATE_DEGRADED: State
STATE_DOWN: State
STATE_DRAINING: State

class StreamRequest(_message.Message):
    __slots__ = ("open", "frame", "update", "cancel")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    open: SessionOptions
    frame: Frame
    update: SessionUpdate
    cancel: Cancel
    def __init__(self, open: _Optional[_Union[SessionOptions, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., update: _Optional[_Union[SessionUpdate, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ...) -> None: ...

class StreamReply(_message.Message):
    __slots__ = ("opened", "frame", "changed", "closed")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    opened: SessionOpened
    frame: FrameReply
    changed: SessionChanged
    closed: SessionClosed
    def __init__(self, opened: _Optional[_Union[SessionOpened, _Mapping]] = ..., frame: _Optional[_Union[FrameReply, _Mapping]] = ..., changed: _Optional[_Union[SessionChanged, _Mapping]] = ..., closed: _Optional[_Union[SessionClosed, _Mapping]] = ...) -> None: ...

class SegmentRequest(_message.Message):
    __slots__ = ("options", "frame")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    options: SessionOptions
    frame: Frame
    def __init__(self, options: _Optional[_Union[SessionOptions, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class SegmentReply(_message.Message):
    __slots__ = ("opened", "frame")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    opened: SessionOpened
    frame: FrameReply
    def __init__(self, opened: _Optional[_Union[SessionOpened, _Mapping]] = ..., frame: _Optional[_Union[FrameReply, _Mapping]] = ...) -> None: ...

class SessionOptions(_message.Message):
    __slots__ = ("model", "outputs", "thresholds", "delivery", "window", "priority", "normalization", "tiling", "measurements", "tracking", "name", "follow_reload", "region", "flat_field", "growth")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    TILING_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENTS_FIELD_NUMBER: _ClassVar[int]
    TRACKING_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_RELOAD_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    FLAT_FIELD_FIELD_NUMBER: _ClassVar[int]
    GROWTH_FIELD_NUMBER: _ClassVar[int]
    model: str
    outputs: Outputs
    thresholds: Thresholds
    delivery: Delivery
    window: int
    priority: Priority
    normalization: Normalization
    tiling: Tiling
    measurements: Measurements
    tracking: Tracking
    name: str
    follow_reload: bool
    region: Region
    flat_field: FlatField
    growth: GrowthOptions
    def __init__(self, model: _Optional[str] = ..., outputs: _Optional[_Union[Outputs, _Mapping]] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., window: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., normalization: _Optional[_Union[Normalization, _Mapping]] = ..., tiling: _Optional[_Union[Tiling, _Mapping]] = ..., measurements: _Optional[_Union[Measurements, _Mapping]] = ..., tracking: _Optional[_Union[Tracking, _Mapping]] = ..., name: _Optional[str] = ..., follow_reload: _Optional[bool] = ..., region: _Optional[_Union[Region, _Mapping]] = ..., flat_field: _Optional[_Union[FlatField, _Mapping]] = ..., growth: _Optional[_Union[GrowthOptions, _Mapping]] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("masks", "label_image", "label_by", "label_compression", "raw_masks")
    MASKS_FIELD_NUMBER: _ClassVar[int]
    LABEL_IMAGE_FIELD_NUMBER: _ClassVar[int]
    LABEL_BY_FIELD_NUMBER: _ClassVar[int]
    LABEL_COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    RAW_MASKS_FIELD_NUMBER: _ClassVar[int]
    masks: MaskEncoding
    label_image: bool
    label_by: LabelBy
    label_compression: Compression
    raw_masks: bool
    def __init__(self, masks: _Optional[_Union[MaskEncoding, str]] = ..., label_image: _Optional[bool] = ..., label_by: _Optional[_Union[LabelBy, str]] = ..., label_compression: _Optional[_Union[Compression, str]] = ..., raw_masks: _Optional[bool] = ...) -> None: ...

class Thresholds(_message.Message):
    __slots__ = ("confidence", "iou", "class_agnostic", "max_cells", "min_area_um2", "max_area_um2", "min_area_px", "border", "classes", "class_confidence")
    class ClassConfidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: float
        def __init__(self, key: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    IOU_FIELD_NUMBER: _ClassVar[int]
    CLASS_AGNOSTIC_FIELD_NUMBER: _ClassVar[int]
    MAX_CELLS_FIELD_NUMBER: _ClassVar[int]
    MIN_AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    MAX_AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    MIN_AREA_PX_FIELD_NUMBER: _ClassVar[int]
    BORDER_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    confidence: float
    iou: float
    class_agnostic: bool
    max_cells: int
    min_area_um2: float
    max_area_um2: float
    min_area_px: int
    border: BorderRule
    classes: _containers.RepeatedScalarFieldContainer[int]
    class_confidence: _containers.ScalarMap[int, float]
    def __init__(self, confidence: _Optional[float] = ..., iou: _Optional[float] = ..., class_agnostic: _Optional[bool] = ..., max_cells: _Optional[int] = ..., min_area_um2: _Optional[float] = ..., max_area_um2: _Optional[float] = ..., min_area_px: _Optional[int] = ..., border: _Optional[_Union[BorderRule, str]] = ..., classes: _Optional[_Iterable[int]] = ..., class_confidence: _Optional[_Mapping[int, float]] = ...) -> None: ...

class Normalization(_message.Message):
    __slots__ = ("full_range", "window", "percentiles", "reference")
    class FullRange(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Window(_message.Message):
        __slots__ = ("low", "high")
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        low: float
        high: float
        def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...
    class Percentiles(_message.Message):
        __slots__ = ("low", "high", "smoothing", "min_span")
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        SMOOTHING_FIELD_NUMBER: _ClassVar[int]
        MIN_SPAN_FIELD_NUMBER: _ClassVar[int]
        low: float
        high: float
        smoothing: float
        min_span: float
        def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., smoothing: _Optional[float] = ..., min_span: _Optional[float] = ...) -> None: ...
    class Reference(_message.Message):
        __slots__ = ("raw", "encoded", "low", "high")
        RAW_FIELD_NUMBER: _ClassVar[int]
        ENCODED_FIELD_NUMBER: _ClassVar[int]
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        raw: RawPixels
        encoded: EncodedImage
        low: float
        high: float
        def __init__(self, raw: _Optional[_Union[RawPixels, _Mapping]] = ..., encoded: _Optional[_Union[EncodedImage, _Mapping]] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...
    FULL_RANGE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    PERCENTILES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    full_range: Normalization.FullRange
    window: Normalization.Window
    percentiles: Normalization.Percentiles
    reference: Normalization.Reference
    def __init__(self, full_range: _Optional[_Union[Normalization.FullRange, _Mapping]] = ..., window: _Optional[_Union[Normalization.Window, _Mapping]] = ..., percentiles: _Optional[_Union[Normalization.Percentiles, _Mapping]] = ..., reference: _Optional[_Union[Normalization.Reference, _Mapping]] = ...) -> None: ...

class Tiling(_message.Message):
    __slots__ = ("mode", "overlap", "target_um_per_px")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[Tiling.Mode]
        MODE_AUTO: _ClassVar[Tiling.Mode]
        MODE_OFF: _ClassVar[Tiling.Mode]
        MODE_ON: _ClassVar[Tiling.Mode]
    MODE_UNSPECIFIED: Tiling.Mode
    MODE_AUTO: Tiling.Mode
    MODE_OFF: Tiling.Mode
    MODE_ON: Tiling.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    TARGET_UM_PER_PX_FIELD_NUMBER: _ClassVar[int]
    mode: Tiling.Mode
    overlap: float
    target_um_per_px: float
    def __init__(self, mode: _Optional[_Union[Tiling.Mode, str]] = ..., overlap: _Optional[float] = ..., target_um_per_px: _Optional[float] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("rings",)
    RINGS_FIELD_NUMBER: _ClassVar[int]
    rings: _containers.RepeatedCompositeFieldContainer[Ring]
    def __init__(self, rings: _Optional[_Iterable[_Union[Ring, _Mapping]]] = ...) -> None: ...

class FlatField(_message.Message):
    __slots__ = ("flat_raw", "flat_encoded", "dark_raw", "dark_encoded")
    FLAT_RAW_FIELD_NUMBER: _ClassVar[int]
    FLAT_ENCODED_FIELD_NUMBER: _ClassVar[int]
    DARK_RAW_FIELD_NUMBER: _ClassVar[int]
    DARK_ENCODED_FIELD_NUMBER: _ClassVar[int]
    flat_raw: RawPixels
    flat_encoded: EncodedImage
    dark_raw: RawPixels
    dark_encoded: EncodedImage
    def __init__(self, flat_raw: _Optional[_Union[RawPixels, _Mapping]] = ..., flat_encoded: _Optional[_Union[EncodedImage, _Mapping]] = ..., dark_raw: _Optional[_Union[RawPixels, _Mapping]] = ..., dark_encoded: _Optional[_Union[EncodedImage, _Mapping]] = ...) -> None: ...

class SessionUpdate(_message.Message):
    __slots__ = ("thresholds", "normalization", "outputs", "forget_positions")
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FORGET_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    thresholds: Thresholds
    normalization: Normalization
    outputs: Outputs
    forget_positions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., normalization: _Optional[_Union[Normalization, _Mapping]] = ..., outputs: _Optional[_Union[Outputs, _Mapping]] = ..., forget_positions: _Optional[_Iterable[str]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("frame_id",)
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    def __init__(self, frame_id: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("id", "raw", "encoded", "shared", "metadata", "deadline", "thresholds", "measure_on", "flip_horizontal", "flip_vertical")
    ID_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    MEASURE_ON_FIELD_NUMBER: _ClassVar[int]
    FLIP_HORIZONTAL_FIELD_NUMBER: _ClassVar[int]
    FLIP_VERTICAL_FIELD_NUMBER: _ClassVar[int]
    id: int
    raw: RawPixels
    encoded: EncodedImage
    shared: SharedSlot
    metadata: FrameMetadata
    deadline: _duration_pb2.Duration
    thresholds: Thresholds
    measure_on: int
    flip_horizontal: bool
    flip_vertical: bool
    def __init__(self, id: _Optional[int] = ..., raw: _Optional[_Union[RawPixels, _Mapping]] = ..., encoded: _Optional[_Union[EncodedImage, _Mapping]] = ..., shared: _Optional[_Union[SharedSlot, _Mapping]] = ..., metadata: _Optional[_Union[FrameMetadata, _Mapping]] = ..., deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., measure_on: _Optional[int] = ..., flip_horizontal: _Optional[bool] = ..., flip_vertical: _Optional[bool] = ...) -> None: ...

class RawPixels(_message.Message):
    __slots__ = ("format", "width", "height", "row_stride", "data", "significant_bits", "big_endian", "compression")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ROW_STRIDE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_BITS_FIELD_NUMBER: _ClassVar[int]
    BIG_ENDIAN_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    format: PixelFormat
    width: int
    height: int
    row_stride: int
    data: bytes
    significant_bits: int
    big_endian: bool
    compression: Compression
    def __init__(self, format: _Optional[_Union[PixelFormat, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., row_stride: _Optional[int] = ..., data: _Optional[bytes] = ..., significant_bits: _Optional[int] = ..., big_endian: _Optional[bool] = ..., compression: _Optional[_Union[Compression, str]] = ...) -> None: ...

class EncodedImage(_message.Message):
    __slots__ = ("data", "page")
    DATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    page: int
    def __init__(self, data: _Optional[bytes] = ..., page: _Optional[int] = ...) -> None: ...

class SharedSlot(_message.Message):
    __slots__ = ("region", "offset", "layout")
    REGION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    region: str
    offset: int
    layout: RawPixels
    def __init__(self, region: _Optional[str] = ..., offset: _Optional[int] = ..., layout: _Optional[_Union[RawPixels, _Mapping]] = ...) -> None: ...

class RegisterRegion(_message.Message):
    __slots__ = ("name", "key", "offset", "byte_size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BYTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    key: str
    offset: int
    byte_size: int
    def __init__(self, name: _Optional[str] = ..., key: _Optional[str] = ..., offset: _Optional[int] = ..., byte_size: _Optional[int] = ...) -> None: ...

class MemoryRegion(_message.Message):
    __slots__ = ("name", "key", "offset", "byte_size", "writable")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BYTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    key: str
    offset: int
    byte_size: int
    writable: bool
    def __init__(self, name: _Optional[str] = ..., key: _Optional[str] = ..., offset: _Optional[int] = ..., byte_size: _Optional[int] = ..., writable: _Optional[bool] = ...) -> None: ...

class UnregisterRegion(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnregisterReply(_message.Message):
    __slots__ = ("forgotten",)
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    forgotten: int
    def __init__(self, forgotten: _Optional[int] = ...) -> None: ...

class ListRegionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRegionsReply(_message.Message):
    __slots__ = ("regions", "keys", "socket")
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SOCKET_FIELD_NUMBER: _ClassVar[int]
    regions: _containers.RepeatedCompositeFieldContainer[MemoryRegion]
    keys: _containers.RepeatedScalarFieldContainer[str]
    socket: str
    def __init__(self, regions: _Optional[_Iterable[_Union[MemoryRegion, _Mapping]]] = ..., keys: _Optional[_Iterable[str]] = ..., socket: _Optional[str] = ...) -> None: ...

class FrameMetadata(_message.Message):
    __slots__ = ("index", "channel", "position", "camera", "plate", "well", "field", "exposure_ms", "x_um", "y_um", "z_um", "pixel_size_um", "binning", "roi_x", "roi_y", "pixel_to_stage", "captured_at", "elapsed_ms", "properties")
    class IndexEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    WELL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_MS_FIELD_NUMBER: _ClassVar[int]
    X_UM_FIELD_NUMBER: _ClassVar[int]
    Y_UM_FIELD_NUMBER: _ClassVar[int]
    Z_UM_FIELD_NUMBER: _ClassVar[int]
    PIXEL_SIZE_UM_FIELD_NUMBER: _ClassVar[int]
    BINNING_FIELD_NUMBER: _ClassVar[int]
    ROI_X_FIELD_NUMBER: _ClassVar[int]
    ROI_Y_FIELD_NUMBER: _ClassVar[int]
    PIXEL_TO_STAGE_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    index: _containers.ScalarMap[str, int]
    channel: str
    position: str
    camera: str
    plate: str
    well: str
    field: int
    exposure_ms: float
    x_um: float
    y_um: float
    z_um: float
    pixel_size_um: float
    binning: int
    roi_x: int
    roi_y: int
    pixel_to_stage: _containers.RepeatedScalarFieldContainer[float]
    captured_at: _timestamp_pb2.Timestamp
    elapsed_ms: float
    properties: _containers.ScalarMap[str, str]
    def __init__(self, index: _Optional[_Mapping[str, int]] = ..., channel: _Optional[str] = ..., position: _Optional[str] = ..., camera: _Optional[str] = ..., plate: _Optional[str] = ..., well: _Optional[str] = ..., field: _Optional[int] = ..., exposure_ms: _Optional[float] = ..., x_um: _Optional[float] = ..., y_um: _Optional[float] = ..., z_um: _Optional[float] = ..., pixel_size_um: _Optional[float] = ..., binning: _Optional[int] = ..., roi_x: _Optional[int] = ..., roi_y: _Optional[int] = ..., pixel_to_stage: _Optional[_Iterable[float]] = ..., captured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., elapsed_ms: _Optional[float] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SessionOpened(_message.Message):
    __slots__ = ("session", "model", "backend", "device", "window", "settled", "limits", "revision", "server_version", "resumed")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    session: str
    model: Model
    backend: str
    device: str
    window: int
    settled: SessionOptions
    limits: Limits
    revision: int
    server_version: str
    resumed: bool
    def __init__(self, session: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., backend: _Optional[str] = ..., device: _Optional[str] = ..., window: _Optional[int] = ..., settled: _Optional[_Union[SessionOptions, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., revision: _Optional[int] = ..., server_version: _Optional[str] = ..., resumed: _Optional[bool] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_frame_bytes", "max_side", "max_cells", "frames_kept")
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_SIDE_FIELD_NUMBER: _ClassVar[int]
    MAX_CELLS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_KEPT_FIELD_NUMBER: _ClassVar[int]
    max_frame_bytes: int
    max_side: int
    max_cells: int
    frames_kept: int
    def __init__(self, max_frame_bytes: _Optional[int] = ..., max_side: _Optional[int] = ..., max_cells: _Optional[int] = ..., frames_kept: _Optional[int] = ...) -> None: ...

class SessionChanged(_message.Message):
    __slots__ = ("revision", "settled", "model", "backend", "device", "why")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    revision: int
    settled: SessionOptions
    model: Model
    backend: str
    device: str
    why: str
    def __init__(self, revision: _Optional[int] = ..., settled: _Optional[_Union[SessionOptions, _Mapping]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., backend: _Optional[str] = ..., device: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class SessionClosed(_message.Message):
    __slots__ = ("frames", "segmented", "dropped", "failed")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    frames: int
    segmented: int
    dropped: int
    failed: int
    def __init__(self, frames: _Optional[int] = ..., segmented: _Optional[int] = ..., dropped: _Optional[int] = ..., failed: _Optional[int] = ...) -> None: ...

class FrameReply(_message.Message):
    __slots__ = ("id", "segmentation", "dropped", "failed", "measured", "metadata", "timing", "revision", "received_at", "notices")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    id: int
    segmentation: Segmentation
    dropped: Dropped
    failed: Failed
    measured: Measured
    metadata: FrameMetadata
    timing: Timing
    revision: int
    received_at: _timestamp_pb2.Timestamp
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    def __init__(self, id: _Optional[int] = ..., segmentation: _Optional[_Union[Segmentation, _Mapping]] = ..., dropped: _Optional[_Union[Dropped, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., measured: _Optional[_Union[Measured, _Mapping]] = ..., metadata: _Optional[_Union[FrameMetadata, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., revision: _Optional[int] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ("reason",)
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Dropped.Reason]
        REASON_NEWER_FRAME: _ClassVar[Dropped.Reason]
        REASON_DEADLINE: _ClassVar[Dropped.Reason]
        REASON_CANCELLED: _ClassVar[Dropped.Reason]
        REASON_DRAINING: _ClassVar[Dropped.Reason]
    REASON_UNSPECIFIED: Dropped.Reason
    REASON_NEWER_FRAME: Dropped.Reason
    REASON_DEADLINE: Dropped.Reason
    REASON_CANCELLED: Dropped.Reason
    REASON_DRAINING: Dropped.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: Dropped.Reason
    def __init__(self, reason: _Optional[_Union[Dropped.Reason, str]] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("code", "message", "retryable")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[Failed.Code]
        CODE_INVALID_FRAME: _ClassVar[Failed.Code]
        CODE_TOO_LARGE: _ClassVar[Failed.Code]
        CODE_UNSUPPORTED: _ClassVar[Failed.Code]
        CODE_LANE_LOST: _ClassVar[Failed.Code]
        CODE_DEVICE_LOST: _ClassVar[Failed.Code]
        CODE_OVERLOADED: _ClassVar[Failed.Code]
        CODE_INTERNAL: _ClassVar[Failed.Code]
    CODE_UNSPECIFIED: Failed.Code
    CODE_INVALID_FRAME: Failed.Code
    CODE_TOO_LARGE: Failed.Code
    CODE_UNSUPPORTED: Failed.Code
    CODE_LANE_LOST: Failed.Code
    CODE_DEVICE_LOST: Failed.Code
    CODE_OVERLOADED: Failed.Code
    CODE_INTERNAL: Failed.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: Failed.Code
    message: str
    retryable: bool
    def __init__(self, code: _Optional[_Union[Failed.Code, str]] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("code", "message")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[Notice.Code]
        CODE_NO_PIXEL_SIZE: _ClassVar[Notice.Code]
        CODE_SCALE_FAR_FROM_TRAINED: _ClassVar[Notice.Code]
        CODE_LOW_CONTRAST: _ClassVar[Notice.Code]
        CODE_SATURATED: _ClassVar[Notice.Code]
        CODE_TRUNCATED: _ClassVar[Notice.Code]
        CODE_BITS_CLIPPED: _ClassVar[Notice.Code]
        CODE_NO_TIME: _ClassVar[Notice.Code]
        CODE_OUT_OF_ORDER: _ClassVar[Notice.Code]
        CODE_Z_NOT_TRACKED: _ClassVar[Notice.Code]
    CODE_UNSPECIFIED: Notice.Code
    CODE_NO_PIXEL_SIZE: Notice.Code
    CODE_SCALE_FAR_FROM_TRAINED: Notice.Code
    CODE_LOW_CONTRAST: Notice.Code
    CODE_SATURATED: Notice.Code
    CODE_TRUNCATED: Notice.Code
    CODE_BITS_CLIPPED: Notice.Code
    CODE_NO_TIME: Notice.Code
    CODE_OUT_OF_ORDER: Notice.Code
    CODE_Z_NOT_TRACKED: Notice.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: Notice.Code
    message: str
    def __init__(self, code: _Optional[_Union[Notice.Code, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Segmentation(_message.Message):
    __slots__ = ("width", "height", "instances", "label_image", "summary", "normalization", "truncated")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    LABEL_IMAGE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    label_image: LabelImage
    summary: FrameSummary
    normalization: AppliedNormalization
    truncated: bool
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., label_image: _Optional[_Union[LabelImage, _Mapping]] = ..., summary: _Optional[_Union[FrameSummary, _Mapping]] = ..., normalization: _Optional[_Union[AppliedNormalization, _Mapping]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("label", "class_index", "score", "box", "detected_box", "bits", "rle", "rings", "touches_border", "measures", "track")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CLASS_INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    DETECTED_BOX_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    RLE_FIELD_NUMBER: _ClassVar[int]
    RINGS_FIELD_NUMBER: _ClassVar[int]
    TOUCHES_BORDER_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    label: int
    class_index: int
    score: float
    box: Box
    detected_box: Box
    bits: BitMask
    rle: CocoRle
    rings: Rings
    touches_border: bool
    measures: Measures
    track: Track
    def __init__(self, label: _Optional[int] = ..., class_index: _Optional[int] = ..., score: _Optional[float] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., detected_box: _Optional[_Union[Box, _Mapping]] = ..., bits: _Optional[_Union[BitMask, _Mapping]] = ..., rle: _Optional[_Union[CocoRle, _Mapping]] = ..., rings: _Optional[_Union[Rings, _Mapping]] = ..., touches_border: _Optional[bool] = ..., measures: _Optional[_Union[Measures, _Mapping]] = ..., track: _Optional[_Union[Track, _Mapping]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    x0: float
    y0: float
    x1: float
    y1: float
    def __init__(self, x0: _Optional[float] = ..., y0: _Optional[float] = ..., x1: _Optional[float] = ..., y1: _Optional[float] = ...) -> None: ...

class BitMask(_message.Message):
    __slots__ = ("x", "y", "width", "height", "row_bytes", "bits")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    width: int
    height: int
    row_bytes: int
    bits: bytes
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., row_bytes: _Optional[int] = ..., bits: _Optional[bytes] = ...) -> None: ...

class CocoRle(_message.Message):
    __slots__ = ("counts",)
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: bytes
    def __init__(self, counts: _Optional[bytes] = ...) -> None: ...

class Rings(_message.Message):
    __slots__ = ("rings",)
    RINGS_FIELD_NUMBER: _ClassVar[int]
    rings: _containers.RepeatedCompositeFieldContainer[Ring]
    def __init__(self, rings: _Optional[_Iterable[_Union[Ring, _Mapping]]] = ...) -> None: ...

class Ring(_message.Message):
    __slots__ = ("xy_delta", "hole")
    XY_DELTA_FIELD_NUMBER: _ClassVar[int]
    HOLE_FIELD_NUMBER: _ClassVar[int]
    xy_delta: _containers.RepeatedScalarFieldContainer[int]
    hole: bool
    def __init__(self, xy_delta: _Optional[_Iterable[int]] = ..., hole: _Optional[bool] = ...) -> None: ...

class LabelImage(_message.Message):
    __slots__ = ("data", "bytes_per_pixel", "compression")
    DATA_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_PIXEL_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    bytes_per_pixel: int
    compression: Compression
    def __init__(self, data: _Optional[bytes] = ..., bytes_per_pixel: _Optional[int] = ..., compression: _Optional[_Union[Compression, str]] = ...) -> None: ...

class FrameSummary(_message.Message):
    __slots__ = ("count", "confluence", "density_per_mm2", "count_by_class", "removed_by_area", "removed_at_border", "analysed_px", "nearest_neighbour_mean_px", "nearest_neighbour_mean_um", "neighbours_mean", "drift", "growth")
    class CountByClassEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFLUENCE_FIELD_NUMBER: _ClassVar[int]
    DENSITY_PER_MM2_FIELD_NUMBER: _ClassVar[int]
    COUNT_BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_BY_AREA_FIELD_NUMBER: _ClassVar[int]
    REMOVED_AT_BORDER_FIELD_NUMBER: _ClassVar[int]
    ANALYSED_PX_FIELD_NUMBER: _ClassVar[int]
    NEAREST_NEIGHBOUR_MEAN_PX_FIELD_NUMBER: _ClassVar[int]
    NEAREST_NEIGHBOUR_MEAN_UM_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_MEAN_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    GROWTH_FIELD_NUMBER: _ClassVar[int]
    count: int
    confluence: float
    density_per_mm2: float
    count_by_class: _containers.ScalarMap[int, int]
    removed_by_area: int
    removed_at_border: int
    analysed_px: int
    nearest_neighbour_mean_px: float
    nearest_neighbour_mean_um: float
    neighbours_mean: float
    drift: Drift
    growth: Growth
    def __init__(self, count: _Optional[int] = ..., confluence: _Optional[float] = ..., density_per_mm2: _Optional[float] = ..., count_by_class: _Optional[_Mapping[int, int]] = ..., removed_by_area: _Optional[int] = ..., removed_at_border: _Optional[int] = ..., analysed_px: _Optional[int] = ..., nearest_neighbour_mean_px: _Optional[float] = ..., nearest_neighbour_mean_um: _Optional[float] = ..., neighbours_mean: _Optional[float] = ..., drift: _Optional[_Union[Drift, _Mapping]] = ..., growth: _Optional[_Union[Growth, _Mapping]] = ...) -> None: ...

class Drift(_message.Message):
    __slots__ = ("x_px", "y_px", "x_um", "y_um")
    X_PX_FIELD_NUMBER: _ClassVar[int]
    Y_PX_FIELD_NUMBER: _ClassVar[int]
    X_UM_FIELD_NUMBER: _ClassVar[int]
    Y_UM_FIELD_NUMBER: _ClassVar[int]
    x_px: float
    y_px: float
    x_um: float
    y_um: float
    def __init__(self, x_px: _Optional[float] = ..., y_px: _Optional[float] = ..., x_um: _Optional[float] = ..., y_um: _Optional[float] = ...) -> None: ...

class AppliedNormalization(_message.Message):
    __slots__ = ("low", "high", "policy")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    policy: str
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., policy: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queued", "unpack", "copy_up", "preprocess", "infer", "decode", "copy_down", "measure", "encode", "track", "total", "tiles")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    UNPACK_FIELD_NUMBER: _ClassVar[int]
    COPY_UP_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_FIELD_NUMBER: _ClassVar[int]
    INFER_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    COPY_DOWN_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    queued: int
    unpack: int
    copy_up: int
    preprocess: int
    infer: int
    decode: int
    copy_down: int
    measure: int
    encode: int
    track: int
    total: int
    tiles: int
    def __init__(self, queued: _Optional[int] = ..., unpack: _Optional[int] = ..., copy_up: _Optional[int] = ..., preprocess: _Optional[int] = ..., infer: _Optional[int] = ..., decode: _Optional[int] = ..., copy_down: _Optional[int] = ..., measure: _Optional[int] = ..., encode: _Optional[int] = ..., track: _Optional[int] = ..., total: _Optional[int] = ..., tiles: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "input_width", "input_height", "classes", "trained_um_per_px", "sha256", "head", "precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TRAINED_UM_PER_PX_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    input_width: int
    input_height: int
    classes: _containers.RepeatedScalarFieldContainer[str]
    trained_um_per_px: float
    sha256: str
    head: str
    precision: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., input_width: _Optional[int] = ..., input_height: _Optional[int] = ..., classes: _Optional[_Iterable[str]] = ..., trained_um_per_px: _Optional[float] = ..., sha256: _Optional[str] = ..., head: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsReply(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Measurements(_message.Message):
    __slots__ = ("shape", "hull", "intensity", "background", "neighbours", "neighbour_radius_px", "neighbour_radius_um")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    HULL_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOUR_RADIUS_PX_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOUR_RADIUS_UM_FIELD_NUMBER: _ClassVar[int]
    shape: bool
    hull: bool
    intensity: bool
    background: bool
    neighbours: bool
    neighbour_radius_px: float
    neighbour_radius_um: float
    def __init__(self, shape: _Optional[bool] = ..., hull: _Optional[bool] = ..., intensity: _Optional[bool] = ..., background: _Optional[bool] = ..., neighbours: _Optional[bool] = ..., neighbour_radius_px: _Optional[float] = ..., neighbour_radius_um: _Optional[float] = ...) -> None: ...

class Measures(_message.Message):
    __slots__ = ("area_px", "area_um2", "centroid_x_px", "centroid_y_px", "stage_x_um", "stage_y_um", "shape", "hull", "intensity", "neighbours")
    AREA_PX_FIELD_NUMBER: _ClassVar[int]
    AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    CENTROID_X_PX_FIELD_NUMBER: _ClassVar[int]
    CENTROID_Y_PX_FIELD_NUMBER: _ClassVar[int]
    STAGE_X_UM_FIELD_NUMBER: _ClassVar[int]
    STAGE_Y_UM_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    HULL_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    area_px: int
    area_um2: float
    centroid_x_px: float
    centroid_y_px: float
    stage_x_um: float
    stage_y_um: float
    shape: Shape
    hull: Hull
    intensity: _containers.RepeatedCompositeFieldContainer[Intensity]
    neighbours: Neighbours
    def __init__(self, area_px: _Optional[int] = ..., area_um2: _Optional[float] = ..., centroid_x_px: _Optional[float] = ..., centroid_y_px: _Optional[float] = ..., stage_x_um: _Optional[float] = ..., stage_y_um: _Optional[float] = ..., shape: _Optional[_Union[Shape, _Mapping]] = ..., hull: _Optional[_Union[Hull, _Mapping]] = ..., intensity: _Optional[_Iterable[_Union[Intensity, _Mapping]]] = ..., neighbours: _Optional[_Union[Neighbours, _Mapping]] = ...) -> None: ...

class Shape(_message.Message):
    __slots__ = ("perimeter_px", "perimeter_um", "major_axis_px", "major_axis_um", "minor_axis_px", "minor_axis_um", "eccentricity", "orientation_rad", "extent", "equivalent_diameter_px", "equivalent_diameter_um", "circularity", "euler_number")
    PERIMETER_PX_FIELD_NUMBER: _ClassVar[int]
    PERIMETER_UM_FIELD_NUMBER: _ClassVar[int]
    MAJOR_AXIS_PX_FIELD_NUMBER: _ClassVar[int]
    MAJOR_AXIS_UM_FIELD_NUMBER: _ClassVar[int]
    MINOR_AXIS_PX_FIELD_NUMBER: _ClassVar[int]
    MINOR_AXIS_UM_FIELD_NUMBER: _ClassVar[int]
    ECCENTRICITY_FIELD_NUMBER: _ClassVar[int]
    ORIENTATION_RAD_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    EQUIVALENT_DIAMETER_PX_FIELD_NUMBER: _ClassVar[int]
    EQUIVALENT_DIAMETER_UM_FIELD_NUMBER: _ClassVar[int]
    CIRCULARITY_FIELD_NUMBER: _ClassVar[int]
    EULER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    perimeter_px: float
    perimeter_um: float
    major_axis_px: float
    major_axis_um: float
    minor_axis_px: float
    minor_axis_um: float
    eccentricity: float
    orientation_rad: float
    extent: float
    equivalent_diameter_px: float
    equivalent_diameter_um: float
    circularity: float
    euler_number: int
    def __init__(self, perimeter_px: _Optional[float] = ..., perimeter_um: _Optional[float] = ..., major_axis_px: _Optional[float] = ..., major_axis_um: _Optional[float] = ..., minor_axis_px: _Optional[float] = ..., minor_axis_um: _Optional[float] = ..., eccentricity: _Optional[float] = ..., orientation_rad: _Optional[float] = ..., extent: _Optional[float] = ..., equivalent_diameter_px: _Optional[float] = ..., equivalent_diameter_um: _Optional[float] = ..., circularity: _Optional[float] = ..., euler_number: _Optional[int] = ...) -> None: ...

class Hull(_message.Message):
    __slots__ = ("convex_area_px", "convex_area_um2", "solidity", "feret_max_px", "feret_max_um", "feret_min_px", "feret_min_um")
    CONVEX_AREA_PX_FIELD_NUMBER: _ClassVar[int]
    CONVEX_AREA_UM2_FIELD_NUMBER: _ClassVar[int]
    SOLIDITY_FIELD_NUMBER: _ClassVar[int]
    FERET_MAX_PX_FIELD_NUMBER: _ClassVar[int]
    FERET_MAX_UM_FIELD_NUMBER: _ClassVar[int]
    FERET_MIN_PX_FIELD_NUMBER: _ClassVar[int]
    FERET_MIN_UM_FIELD_NUMBER: _ClassVar[int]
    convex_area_px: float
    convex_area_um2: float
    solidity: float
    feret_max_px: float
    feret_max_um: float
    feret_min_px: float
    feret_min_um: float
    def __init__(self, convex_area_px: _Optional[float] = ..., convex_area_um2: _Optional[float] = ..., solidity: _Optional[float] = ..., feret_max_px: _Optional[float] = ..., feret_max_um: _Optional[float] = ..., feret_min_px: _Optional[float] = ..., feret_min_um: _Optional[float] = ...) -> None: ...

class Intensity(_message.Message):
    __slots__ = ("channel", "mean", "min", "max", "std", "integrated", "background", "weighted_centroid_x_px", "weighted_centroid_y_px")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    INTEGRATED_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_CENTROID_X_PX_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_CENTROID_Y_PX_FIELD_NUMBER: _ClassVar[int]
    channel: str
    mean: float
    min: float
    max: float
    std: float
    integrated: float
    background: float
    weighted_centroid_x_px: float
    weighted_centroid_y_px: float
    def __init__(self, channel: _Optional[str] = ..., mean: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., std: _Optional[float] = ..., integrated: _Optional[float] = ..., background: _Optional[float] = ..., weighted_centroid_x_px: _Optional[float] = ..., weighted_centroid_y_px: _Optional[float] = ...) -> None: ...

class Neighbours(_message.Message):
    __slots__ = ("nearest_px", "nearest_um", "within_radius")
    NEAREST_PX_FIELD_NUMBER: _ClassVar[int]
    NEAREST_UM_FIELD_NUMBER: _ClassVar[int]
    WITHIN_RADIUS_FIELD_NUMBER: _ClassVar[int]
    nearest_px: float
    nearest_um: float
    within_radius: int
    def __init__(self, nearest_px: _Optional[float] = ..., nearest_um: _Optional[float] = ..., within_radius: _Optional[int] = ...) -> None: ...

class Measured(_message.Message):
    __slots__ = ("measured_on", "instances")
    MEASURED_ON_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    measured_on: int
    instances: _containers.RepeatedCompositeFieldContainer[MeasuredInstance]
    def __init__(self, measured_on: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[MeasuredInstance, _Mapping]]] = ...) -> None: ...

class MeasuredInstance(_message.Message):
    __slots__ = ("label", "track_id", "intensity")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    label: int
    track_id: int
    intensity: _containers.RepeatedCompositeFieldContainer[Intensity]
    def __init__(self, label: _Optional[int] = ..., track_id: _Optional[int] = ..., intensity: _Optional[_Iterable[_Union[Intensity, _Mapping]]] = ...) -> None: ...

class Tracking(_message.Message):
    __slots__ = ("max_gap", "max_distance_px", "max_distance_um", "divisions", "z_plane", "resume")
    MAX_GAP_FIELD_NUMBER: _ClassVar[int]
    MAX_DISTANCE_PX_FIELD_NUMBER: _ClassVar[int]
    MAX_DISTANCE_UM_FIELD_NUMBER: _ClassVar[int]
    DIVISIONS_FIELD_NUMBER: _ClassVar[int]
    Z_PLANE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    max_gap: int
    max_distance_px: float
    max_distance_um: float
    divisions: bool
    z_plane: int
    resume: Resume
    def __init__(self, max_gap: _Optional[int] = ..., max_distance_px: _Optional[float] = ..., max_distance_um: _Optional[float] = ..., divisions: _Optional[bool] = ..., z_plane: _Optional[int] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("series",)
    SERIES_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[ResumedSeries]
    def __init__(self, series: _Optional[_Iterable[_Union[ResumedSeries, _Mapping]]] = ...) -> None: ...

class ResumedSeries(_message.Message):
    __slots__ = ("metadata", "width", "height", "next_id", "instances")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    NEXT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    metadata: FrameMetadata
    width: int
    height: int
    next_id: int
    instances: _containers.RepeatedCompositeFieldContainer[ResumedInstance]
    def __init__(self, metadata: _Optional[_Union[FrameMetadata, _Mapping]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., next_id: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[ResumedInstance, _Mapping]]] = ...) -> None: ...

class ResumedInstance(_message.Message):
    __slots__ = ("track", "class_index", "bits", "rle", "rings", "missing", "dropped", "drifted")
    TRACK_FIELD_NUMBER: _ClassVar[int]
    CLASS_INDEX_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    RLE_FIELD_NUMBER: _ClassVar[int]
    RINGS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    DRIFTED_FIELD_NUMBER: _ClassVar[int]
    track: Track
    class_index: int
    bits: BitMask
    rle: CocoRle
    rings: Rings
    missing: int
    dropped: int
    drifted: Drift
    def __init__(self, track: _Optional[_Union[Track, _Mapping]] = ..., class_index: _Optional[int] = ..., bits: _Optional[_Union[BitMask, _Mapping]] = ..., rle: _Optional[_Union[CocoRle, _Mapping]] = ..., rings: _Optional[_Union[Rings, _Mapping]] = ..., missing: _Optional[int] = ..., dropped: _Optional[int] = ..., drifted: _Optional[_Union[Drift, _Mapping]] = ...) -> None: ...

class Track(_message.Message):
    __slots__ = ("id", "parent_id", "age", "gap", "moved_x_px", "moved_y_px", "moved_um")
    ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    MOVED_X_PX_FIELD_NUMBER: _ClassVar[int]
    MOVED_Y_PX_FIELD_NUMBER: _ClassVar[int]
    MOVED_UM_FIELD_NUMBER: _ClassVar[int]
    id: int
    parent_id: int
    age: int
    gap: int
    moved_x_px: float
    moved_y_px: float
    moved_um: float
    def __init__(self, id: _Optional[int] = ..., parent_id: _Optional[int] = ..., age: _Optional[int] = ..., gap: _Optional[int] = ..., moved_x_px: _Optional[float] = ..., moved_y_px: _Optional[float] = ..., moved_um: _Optional[float] = ...) -> None: ...

class GrowthOptions(_message.Message):
    __slots__ = ("window_hours", "min_points")
    WINDOW_HOURS_FIELD_NUMBER: _ClassVar[int]
    MIN_POINTS_FIELD_NUMBER: _ClassVar[int]
    window_hours: float
    min_points: int
    def __init__(self, window_hours: _Optional[float] = ..., min_points: _Optional[int] = ...) -> None: ...

class Growth(_message.Message):
    __slots__ = ("count", "confluence", "points", "span_hours", "excluded", "fields")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFLUENCE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    SPAN_HOURS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    count: GrowthRate
    confluence: GrowthRate
    points: int
    span_hours: float
    excluded: int
    fields: int
    def __init__(self, count: _Optional[_Union[GrowthRate, _Mapping]] = ..., confluence: _Optional[_Union[GrowthRate, _Mapping]] = ..., points: _Optional[int] = ..., span_hours: _Optional[float] = ..., excluded: _Optional[int] = ..., fields: _Optional[int] = ...) -> None: ...

class GrowthRate(_message.Message):
    __slots__ = ("per_hour", "doubling_hours", "doubling_low_hours", "doubling_high_hours")
    PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    DOUBLING_HOURS_FIELD_NUMBER: _ClassVar[int]
    DOUBLING_LOW_HOURS_FIELD_NUMBER: _ClassVar[int]
    DOUBLING_HIGH_HOURS_FIELD_NUMBER: _ClassVar[int]
    per_hour: float
    doubling_hours: float
    doubling_low_hours: float
    doubling_high_hours: float
    def __init__(self, per_hour: _Optional[float] = ..., doubling_hours: _Optional[float] = ..., doubling_low_hours: _Optional[float] = ..., doubling_high_hours: _Optional[float] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadReply(_message.Message):
    __slots__ = ("models", "needs_restart")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_RESTART_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelReload]
    needs_restart: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelReload, _Mapping]]] = ..., needs_restart: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelReload(_message.Message):
    __slots__ = ("name", "outcome", "message")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[ModelReload.Outcome]
        OUTCOME_UNCHANGED: _ClassVar[ModelReload.Outcome]
        OUTCOME_LOADED: _ClassVar[ModelReload.Outcome]
        OUTCOME_REMOVED: _ClassVar[ModelReload.Outcome]
        OUTCOME_REFUSED: _ClassVar[ModelReload.Outcome]
    OUTCOME_UNSPECIFIED: ModelReload.Outcome
    OUTCOME_UNCHANGED: ModelReload.Outcome
    OUTCOME_LOADED: ModelReload.Outcome
    OUTCOME_REMOVED: ModelReload.Outcome
    OUTCOME_REFUSED: ModelReload.Outcome
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    outcome: ModelReload.Outcome
    message: str
    def __init__(self, name: _Optional[str] = ..., outcome: _Optional[_Union[ModelReload.Outcome, str]] = ..., message: _Optional[str] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("server_version", "started_at", "state", "models", "sessions")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    started_at: _timestamp_pb2.Timestamp
    state: State
    models: _containers.RepeatedCompositeFieldContainer[ModelStatus]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionStatus]
    def __init__(self, server_version: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[State, str]] = ..., models: _Optional[_Iterable[_Union[ModelStatus, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[SessionStatus, _Mapping]]] = ...) -> None: ...

class ModelStatus(_message.Message):
    __slots__ = ("model", "backend", "device", "state", "why", "lanes", "lanes_up", "sessions", "generation")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    LANES_UP_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    model: Model
    backend: str
    device: str
    state: State
    why: str
    lanes: int
    lanes_up: int
    sessions: int
    generation: int
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., backend: _Optional[str] = ..., device: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., why: _Optional[str] = ..., lanes: _Optional[int] = ..., lanes_up: _Optional[int] = ..., sessions: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class SessionStatus(_message.Message):
    __slots__ = ("session", "name", "peer", "model", "opened_at", "since_last_frame", "counts", "p50_us", "p95_us", "cells", "confluence", "revision", "priority", "delivery")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    SINCE_LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P95_US_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    CONFLUENCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    session: str
    name: str
    peer: str
    model: str
    opened_at: _timestamp_pb2.Timestamp
    since_last_frame: _duration_pb2.Duration
    counts: SessionClosed
    p50_us: int
    p95_us: int
    cells: int
    confluence: float
    revision: int
    priority: Priority
    delivery: Delivery
    def __init__(self, session: _Optional[str] = ..., name: _Optional[str] = ..., peer: _Optional[str] = ..., model: _Optional[str] = ..., opened_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., since_last_frame: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., counts: _Optional[_Union[SessionClosed, _Mapping]] = ..., p50_us: _Optional[int] = ..., p95_us: _Optional[int] = ..., cells: _Optional[int] = ..., confluence: _Optional[float] = ..., revision: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., delivery: _Optional[_Union[Delivery, str]] = ...) -> None: ...
