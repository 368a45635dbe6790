//! This interface described as OpenAPI 3.1, made of the calls themselves and of the contract.

mod schemas;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use utoipa::openapi::{
    ComponentsBuilder, Content, HeaderBuilder, HttpMethod, InfoBuilder, LicenseBuilder,
    ObjectBuilder, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
    Schema, Type,
    path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use super::{
    accept::Form,
    query::{Kind, Parameter},
};
use crate::server::problem::PROBLEM_JSON;

/// The scheme of tokens, and the schema and the answer of what goes wrong.
const TOKEN: &str = "token";
const PROBLEM: &str = "Problem";

/// What is said of a call.
pub(super) struct Described {
    operation: OperationBuilder,
    /// Messages of the contract that it names.
    messages: BTreeSet<&'static str>,
}

/// A body or an answer, and the messages of the contract that it names.
pub(super) struct Piece<T> {
    it: T,
    messages: BTreeSet<&'static str>,
}

/// An answer and its status.
pub(super) type Answer = Piece<(u16, ResponseBuilder)>;

impl Described {
    /// `id`: as programs that are made from the description call it.
    pub(super) fn new(id: &str, summary: &str) -> Self {
        Described {
            operation: OperationBuilder::new()
                .operation_id(Some(id))
                .summary(Some(summary)),
            messages: BTreeSet::new(),
        }
    }

    /// More of what it does.
    pub(super) fn about(mut self, about: &str) -> Self {
        self.operation = self.operation.description(Some(about));
        self
    }

    /// Parameters in the address.
    pub(super) fn parameters(mut self, parameters: &[&[Parameter]]) -> Self {
        for parameter in parameters.iter().copied().flatten() {
            let it = ParameterBuilder::new()
                .name(parameter.name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(parameter.about))
                .explode(matches!(parameter.kind, Kind::Some(_)).then_some(false))
                .schema(Some(schema_of(parameter.kind)));
            self.operation = self.operation.parameter(it);
        }
        self
    }

    /// It is about a session that its address names.
    pub(super) fn of_session(mut self) -> Self {
        let it = ParameterBuilder::new()
            .name("session")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("`SessionOpened.session`"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        self.operation = self.operation.parameter(it);
        self
    }

    /// What is sent.
    pub(super) fn body(mut self, body: Piece<RequestBody>) -> Self {
        self.messages.extend(body.messages);
        self.operation = self.operation.request_body(Some(body.it));
        self
    }

    /// What comes where all is well.
    pub(super) fn answers(mut self, answer: Answer) -> Self {
        self.messages.extend(answer.messages);
        let (status, response) = answer.it;
        self.operation = self.operation.response(status.to_string(), response);
        self
    }

    /// What may go wrong, beside who calls.
    pub(super) fn problems(mut self, statuses: &[u16]) -> Self {
        for status in statuses.iter().chain(&[401, 403]) {
            let response = RefOr::Ref(Ref::from_response_name(PROBLEM));
            self.operation = self.operation.response(status.to_string(), response);
        }
        self
    }
}

/// A message of the contract.
pub(super) fn json_answer(status: u16, message: &'static str, about: &str) -> Answer {
    let content = Content::new(Some(schemas::reference(message)));
    Piece {
        it: (
            status,
            ResponseBuilder::new()
                .description(about)
                .content("application/json", content),
        ),
        messages: BTreeSet::from([message]),
    }
}

/// The cells of a frame, in every form; as JSON that message.
pub(super) fn cells_answer(message: &'static str) -> Answer {
    let Piece {
        it: (status, mut response),
        messages,
    } = json_answer(200, message, "The cells, in the form asked for.");
    for form in Form::ALL.into_iter().filter(|form| *form != Form::Json) {
        let media_type = form.media_type().split(';').next().unwrap_or_default();
        let content = match form {
            Form::GeoJson => Content::new(Some(ObjectBuilder::new().schema_type(Type::Object))),
            Form::Csv => Content::new(Some(ObjectBuilder::new().schema_type(Type::String))),
            _ => Content::default(),
        };
        response = response.content(media_type, content);
    }
    for (name, about) in [
        ("X-Cellsegd-Session", "Id of the session that answered."),
        ("X-Cellsegd-Model", "Name of the model."),
        ("X-Cellsegd-Frame", "The frame's id."),
        ("X-Cellsegd-Revision", "Of the session's settings."),
        ("X-Cellsegd-Cells", "How many cells there are."),
        ("X-Cellsegd-Confluence", "0 to 1."),
        ("X-Cellsegd-Truncated", "true: cells were cut at a bound."),
        ("X-Cellsegd-Notice", "CODE: message; once for each notice."),
        ("Server-Timing", "Stages, milliseconds."),
    ] {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some(about));
        response = response.header(name, header.build());
    }
    Piece {
        it: (status, response),
        messages,
    }
}

/// JSON of that message; may be left out.
pub(super) fn body_of_json(message: &'static str) -> Piece<RequestBody> {
    let content = Content::new(Some(schemas::reference(message)));
    Piece {
        it: RequestBodyBuilder::new()
            .content("application/json", content)
            .build(),
        messages: BTreeSet::from([message]),
    }
}

/// A frame; `has_options`: a form may hold a session's options, too.
pub(super) fn body_of_frame(has_options: bool) -> Piece<RequestBody> {
    let mut messages = BTreeSet::from(["FrameMetadata"]);
    let mut form = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property(
            "image",
            bytes("The image file, or raw pixels that the parameters describe."),
        )
        .required("image")
        .property("metadata", schemas::reference("FrameMetadata"))
        .additional_properties(Some(
            utoipa::openapi::schema::AdditionalProperties::FreeForm(false),
        ));
    if has_options {
        messages.insert("SessionOptions");
        form = with_options(form);
    }
    let mut body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .description(Some("A frame."));
    for media_type in [
        "image/png",
        "image/tiff",
        "image/jpeg",
        "application/octet-stream",
    ] {
        body = body.content(media_type, Content::default());
    }
    Piece {
        it: body
            .content("multipart/form-data", Content::new(Some(form)))
            .build(),
        messages,
    }
}

/// Options of a session, as JSON or with the images that they need.
pub(super) fn body_of_options() -> Piece<RequestBody> {
    let Piece { it, messages } = body_of_json("SessionOptions");
    let form =
        with_options(ObjectBuilder::new().schema_type(Type::Object)).additional_properties(Some(
            utoipa::openapi::schema::AdditionalProperties::FreeForm(false),
        ));
    let body: RequestBodyBuilder = it.into();
    Piece {
        it: body
            .content("multipart/form-data", Content::new(Some(form)))
            .build(),
        messages,
    }
}

fn with_options(form: ObjectBuilder) -> ObjectBuilder {
    form.property("options", schemas::reference("SessionOptions"))
        .property("flat", bytes("An image file: `FlatField.flat_encoded`."))
        .property("dark", bytes("An image file: `FlatField.dark_encoded`."))
        .property(
            "reference",
            bytes("An image file: `Normalization.Reference.encoded`, whose percentiles are in the options."),
        )
}

fn bytes(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .content_media_type("application/octet-stream")
        .description(Some(about))
}

fn schema_of(kind: Kind) -> Schema {
    let of = |schema_type: Type| ObjectBuilder::new().schema_type(schema_type);
    match kind {
        Kind::Text => of(Type::String).into(),
        Kind::Whole => of(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(u32::MAX))
            .into(),
        Kind::Long => of(Type::Integer).minimum(Some(0)).into(),
        Kind::Number => of(Type::Number).into(),
        Kind::Truth => of(Type::Boolean).into(),
        Kind::One(words) => of(Type::String).enum_values(Some(words.to_vec())).into(),
        Kind::Some(words) => {
            let word = of(Type::String).enum_values(Some(words.to_vec()));
            utoipa::openapi::ArrayBuilder::new().items(word).into()
        }
    }
}

static TEXT: LazyLock<String> = LazyLock::new(written);

/// The description, JSON.
pub fn text() -> &'static str {
    &TEXT
}

fn written() -> String {
    let mut messages = BTreeSet::new();
    let mut paths: BTreeMap<&str, PathItem> = BTreeMap::new();
    for call in super::calls() {
        messages.extend(call.described.messages);
        let item = PathItem::new(call.method, call.described.operation);
        match paths.get_mut(call.path) {
            Some(before) => before.merge_operations(item),
            None => drop(paths.insert(call.path, item)),
        }
    }
    for (path, id, summary) in [
        ("/livez", "livez", "Whether the process is well"),
        ("/readyz", "readyz", "Whether frames are segmented"),
        ("/metrics", "metrics", "What it counts, for Prometheus"),
    ] {
        paths.insert(path, PathItem::new(HttpMethod::Get, plain(id, summary)));
    }
    let paths = paths
        .into_iter()
        .fold(PathsBuilder::new(), |paths, (path, item)| {
            paths.path(path, item)
        });
    let problem = ResponseBuilder::new()
        .description("What was wrong, and what would be right (RFC 9457).")
        .content(
            PROBLEM_JSON,
            Content::new(Some(schemas::reference(PROBLEM))),
        );
    let token = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "From `cellsegd pair NAME`. This machine's own users need none unless the settings say so.",
            ))
            .build(),
    );
    let mut components = ComponentsBuilder::new()
        .schema(PROBLEM, of_problem())
        .response(PROBLEM, problem)
        .security_scheme(TOKEN, token);
    for (name, schema) in schemas::of(&messages) {
        components = components.schema(name, schema);
    }
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("cellsegd")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Camera frames in, each cell's mask out. Messages are those of the contract `cellseg.v1`, in protobuf's \
                     canonical JSON with the contract's field names. Coordinates are pixel edges. What the page at `/` asks for \
                     (`/assets`, `/login`, `/logout`, `/v1/observe`) changes with it, and is not described.",
                ))
                .license(Some(
                    LicenseBuilder::new().name("MIT OR Apache-2.0").build(),
                )),
        )
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([
            SecurityRequirement::default(),
            SecurityRequirement::new(TOKEN, std::iter::empty::<String>()),
        ]))
        .build();
    let mut text = document.to_pretty_json().expect("a description is JSON");
    text.push('\n');
    text
}

fn plain(id: &str, summary: &str) -> Operation {
    let text = || Content::new(Some(ObjectBuilder::new().schema_type(Type::String)));
    let kind = match id {
        "metrics" => "application/openmetrics-text",
        _ => "text/plain",
    };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .response(
            "200",
            ResponseBuilder::new()
                .description("Yes.")
                .content(kind, text()),
        );
    if id != "metrics" {
        let no = ResponseBuilder::new().description("No, and why.");
        operation = operation.response("503", no.content(kind, text()));
    }
    let refused = || RefOr::<utoipa::openapi::Response>::Ref(Ref::from_response_name(PROBLEM));
    ["401", "403", "429"]
        .into_iter()
        .fold(operation, |operation, status| {
            operation.response(status, refused())
        })
        .build()
}

fn of_problem() -> ObjectBuilder {
    let text = |about: &str| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(about))
    };
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What was wrong, and what would be right (RFC 9457)."))
        .property("type", text("about:blank: `code` says what kind it is."))
        .property("title", text("The status in words."))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .property(
            "detail",
            text("What was wrong, with the value, and what would be right."),
        )
        .property("code", text("One word for programs."))
        .property("frame", schemas::reference("FrameReply"))
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("code")
}
