//! From a call's body to a frame and to a session's options.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::Request,
    http::{HeaderMap, header::CONTENT_TYPE},
};

use super::{
    body::{self, Part},
    content::{self, Content},
    parameters::{self, PAGE},
    query::Query,
};
use crate::{
    config::LimitSettings,
    frame::{MOST_PAGES_COUNTED, n_pages},
    proto::{self as pb, frame::Pixels},
    server::{
        MESSAGE_OVERHEAD, SMALL_MESSAGE, convert, json, problem::Problem, stream::on_work_pool,
    },
};

/// Parts of a form.
const IMAGE: &str = "image";
const METADATA: &str = "metadata";
const OPTIONS: &str = "options";
const FLAT: &str = "flat";
const DARK: &str = "dark";
const REFERENCE: &str = "reference";

/// Most bytes of JSON.
const JSON: usize = MESSAGE_OVERHEAD as usize;

/// What a call with a frame asks for.
pub(super) struct Asked {
    pub(super) frame: pb::Frame,
    /// Of a call without a session.
    pub(super) options: pb::SessionOptions,
    /// The image's file, as the client called it; empty: it said no name.
    pub(super) file: String,
}

/// How much of a body is read, and how long it is waited for.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    most: usize,
    image: usize,
    patience: Duration,
}

impl Bounds {
    pub(super) fn of(limits: &LimitSettings) -> Self {
        let image = limits.max_frame_bytes as usize;
        Bounds {
            most: image + MESSAGE_OVERHEAD as usize,
            image,
            patience: limits.patience(),
        }
    }
}

/// Reads a frame: an image file, raw pixels that `query` describes, or a form. `has_options`: the form may hold a session's, too.
pub(super) async fn frame(
    request: Request,
    query: &Query,
    bounds: Bounds,
    has_options: bool,
) -> Result<Asked, Problem> {
    let said = content_type(request.headers());
    let mut asked = Asked {
        frame: pb::Frame::default(),
        options: pb::SessionOptions::default(),
        file: String::new(),
    };
    match is_form(said.as_deref()) {
        false => {
            let content = Content::of(said.as_deref())?;
            let (head, body) = request.into_parts();
            let bytes = body::whole(&head.headers, body, bounds.image, bounds.patience).await?;
            asked.frame.pixels = Some(pixels(query, content, bytes).await?);
        }
        true => {
            let mut known = vec![(IMAGE, bounds.image), (METADATA, JSON)];
            if has_options {
                known.extend(parts_of_options(bounds));
            }
            let mut parts = body::form(request, bounds.most, &known, bounds.patience).await?;
            let image = take(&mut parts, IMAGE)
                .ok_or_else(|| Problem::bad_request("part \"image\" of the form: there is none"))?;
            let content = Content::of(image.content_type.as_deref())?;
            asked.frame.pixels = Some(pixels(query, content, image.bytes).await?);
            asked.file = image.file_name.unwrap_or_default();
            if let Some(part) = take(&mut parts, METADATA) {
                let metadata = decoded("FrameMetadata", "part \"metadata\"", part.bytes);
                asked.frame.metadata = Some(metadata.await?);
            }
            asked.options = options_of(parts).await?;
        }
    }
    parameters::frame(query, &mut asked.frame);
    match has_options {
        true => parameters::options(query, &mut asked.options),
        false => asked.frame.thresholds = parameters::thresholds(query, None),
    }
    Ok(asked)
}

/// Reads a session's options: JSON, or a form with the images that they need. No body: every default.
pub(super) async fn options(
    request: Request,
    query: &Query,
    bounds: Bounds,
) -> Result<pb::SessionOptions, Problem> {
    let mut options = match is_form(content_type(request.headers()).as_deref()) {
        true => {
            let known = parts_of_options(bounds);
            let parts = body::form(request, bounds.most, &known, bounds.patience).await?;
            options_of(parts).await?
        }
        false => message(request, "SessionOptions", bounds).await?,
    };
    parameters::options(query, &mut options);
    Ok(options)
}

/// Reads the contract's message `name`, as JSON. No body: a message in which nothing is set.
pub(super) async fn message<M: prost::Message + Default + 'static>(
    request: Request,
    name: &'static str,
    bounds: Bounds,
) -> Result<M, Problem> {
    let said = content_type(request.headers());
    let (head, body) = request.into_parts();
    if let Some(said) = &said
        && content::essence(said) != "application/json"
    {
        return Err(content::unsupported(format!(
            "Content-Type {said:?}: send {name} of the contract as application/json"
        )));
    }
    let text = body::whole(&head.headers, body, JSON, bounds.patience).await?;
    match text.is_empty() {
        true => Ok(M::default()),
        false => decoded(name, "the body", text).await,
    }
}

/// Reads the contract's message `name`; on the work pool where it is long.
async fn decoded<M: prost::Message + Default + 'static>(
    name: &'static str,
    part: &'static str,
    text: Bytes,
) -> Result<M, Problem> {
    if text.len() <= SMALL_MESSAGE {
        return json::decode(name, part, &text);
    }
    let decoded = on_work_pool(move || json::decode(name, part, &text)).await;
    decoded.unwrap_or_else(|| {
        let failed = convert::defect("reading JSON");
        Err(tonic::Status::internal(failed.message).into())
    })
}

fn parts_of_options(bounds: Bounds) -> [(&'static str, usize); 4] {
    [
        (OPTIONS, JSON),
        (FLAT, bounds.image),
        (DARK, bounds.image),
        (REFERENCE, bounds.image),
    ]
}

async fn options_of(mut parts: Vec<Part>) -> Result<pb::SessionOptions, Problem> {
    let mut options: pb::SessionOptions = match take(&mut parts, OPTIONS) {
        Some(part) => decoded("SessionOptions", "part \"options\"", part.bytes).await?,
        None => pb::SessionOptions::default(),
    };
    let flat = image(&mut parts, FLAT).await?;
    let dark = image(&mut parts, DARK).await?;
    let reference = image(&mut parts, REFERENCE).await?;
    if let Some(flat) = flat {
        let field = options.flat_field.get_or_insert_default();
        field.flat = Some(pb::flat_field::Flat::FlatEncoded(flat));
    }
    if let Some(dark) = dark {
        let field = options.flat_field.get_or_insert_default();
        field.dark = Some(pb::flat_field::Dark::DarkEncoded(dark));
    }
    if let Some(reference) = reference {
        use pb::normalization::{Policy, reference::Image};
        let policy = options
            .normalization
            .as_mut()
            .and_then(|it| it.policy.as_mut());
        let Some(Policy::Reference(asked)) = policy else {
            return Err(Problem::bad_request(
                "part \"reference\" of the form: needs normalization.reference in the part \"options\", which says the percentiles",
            ));
        };
        asked.image = Some(Image::Encoded(reference));
    }
    Ok(options)
}

fn take(parts: &mut Vec<Part>, name: &str) -> Option<Part> {
    let at = parts.iter().position(|part| part.name == name)?;
    Some(parts.swap_remove(at))
}

/// A part of a form that is an image file of one page.
async fn image(parts: &mut Vec<Part>, name: &str) -> Result<Option<pb::EncodedImage>, Problem> {
    let Some(part) = take(parts, name) else {
        return Ok(None);
    };
    let what = format!("part {name:?} of the form");
    one_page(&part.bytes, &what, "send the one that is meant").await?;
    Ok(Some(pb::EncodedImage {
        data: part.bytes,
        page: 0,
    }))
}

/// Refuses a file of several pages: but one of them would be left out without a word. `right`: what to do instead.
async fn one_page(file: &Bytes, what: &str, right: &str) -> Result<(), Problem> {
    let bytes = file.clone();
    match on_work_pool(move || n_pages(&bytes)).await {
        // What is no whole file is refused where it is decoded.
        None | Some(0 | 1) => Ok(()),
        Some(n) => {
            let n = match n {
                MOST_PAGES_COUNTED => format!("{n} pages or more"),
                n => format!("{n} pages"),
            };
            let detail = format!("{what}: a TIFF file of {n}: {right}");
            Err(Problem::bad_request(detail))
        }
    }
}

async fn pixels(query: &Query, content: Content, bytes: Bytes) -> Result<Pixels, Problem> {
    content.check(&bytes)?;
    match parameters::raw(query)? {
        Some(raw) if content == Content::Bytes => {
            Ok(Pixels::Raw(pb::RawPixels { data: bytes, ..raw }))
        }
        Some(_) => Err(Problem::bad_request(
            "parameter \"format\": says raw pixels, but the content type says an image file; leave one of them out",
        )),
        None => {
            let page = query.get(PAGE);
            if page.is_none() {
                let right = "say which with the parameter page, from 0; one a request";
                one_page(&bytes, "the image", right).await?;
            }
            Ok(Pixels::Encoded(pb::EncodedImage {
                data: bytes,
                page: page.unwrap_or(0),
            }))
        }
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?;
    // What is no text is no type that is known.
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn is_form(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|said| content::essence(said) == "multipart/form-data")
}
