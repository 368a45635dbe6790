//! A subset of the ONNX protobuf schema, by its field numbers: what is not named here, the weights above all, is skipped and
//! never copied.

use prost::Message;

#[derive(Message)]
pub(in crate::model) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OpsetProto>,
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<EntryProto>,
}

#[derive(Message)]
pub(in crate::model) struct OpsetProto {
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Message)]
pub(in crate::model) struct EntryProto {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Message)]
pub(in crate::model) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<WeightProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

#[derive(Message)]
pub(in crate::model) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
}

#[derive(Message)]
pub(in crate::model) struct AttributeProto {
    #[prost(message, optional, tag = "6")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
}

#[derive(Message)]
pub(in crate::model) struct WeightProto {
    #[prost(int32, tag = "2")]
    pub element: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Message)]
pub(in crate::model) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value_type: Option<TypeProto>,
}

#[derive(Message)]
pub(in crate::model) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorTypeProto>,
}

#[derive(Message)]
pub(in crate::model) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub element: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<ShapeProto>,
}

#[derive(Message)]
pub(in crate::model) struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<DimProto>,
}

#[derive(Message)]
pub(in crate::model) struct DimProto {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
}
