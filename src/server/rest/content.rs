//! What a request's bytes are said to be, and whether they look like it.

use axum::http::StatusCode;

use crate::server::problem::Problem;

/// What bytes with a frame are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Png,
    Tiff,
    Jpeg,
    /// A file told by its content, or raw pixels that the address describes.
    Bytes,
}

/// Beginnings by which a person is told what was sent. RIFF and ISO containers name themselves further on.
const BEGINNINGS: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "a PNG file"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"II+\0", "a TIFF file"),
    (b"MM\0+", "a TIFF file"),
    (b"\xff\xd8\xff", "a JPEG file"),
    (b"GIF8", "a GIF file"),
    (b"BM", "a BMP file"),
    (b"RIFF", "a WebP file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"ZISRAWFILE", "a Zeiss CZI file"),
    (b"\xda\xce\xbe\x0a", "a Nikon ND2 file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip"),
    (b"%PDF", "a PDF file"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"<", "HTML or XML"),
];

impl Content {
    /// What a `Content-Type` says; none says nothing. `Err`: nothing that holds a frame.
    pub(super) fn of(content_type: Option<&str>) -> Result<Self, Problem> {
        let Some(said) = content_type else {
            return Ok(Content::Bytes);
        };
        match essence(said).as_str() {
            "image/png" => Ok(Content::Png),
            "image/tiff" | "image/tif" => Ok(Content::Tiff),
            "image/jpeg" | "image/jpg" => Ok(Content::Jpeg),
            "application/octet-stream" => Ok(Content::Bytes),
            other => {
                let hint = match other {
                    "application/x-www-form-urlencoded" => {
                        "; with curl: -H 'Content-Type: image/png' --data-binary @FILE, or -F image=@FILE"
                    }
                    "application/json" => {
                        "; options as JSON go into a form: -F options='{...}' -F image=@FILE"
                    }
                    _ => "",
                };
                Err(unsupported(format!(
                    "Content-Type {other:?} holds no frame: send image/png, image/tiff, image/jpeg, application/octet-stream or multipart/form-data{hint}"
                )))
            }
        }
    }

    /// Refuses bytes that are something else than they are said to be.
    pub(super) fn check(self, bytes: &[u8]) -> Result<(), Problem> {
        if bytes.is_empty() {
            return Err(unprocessable("no bytes: a frame has pixels".to_owned()));
        }
        let (said, is) = match self {
            Content::Bytes => return Ok(()),
            Content::Png => ("image/png", "a PNG file"),
            Content::Tiff => ("image/tiff", "a TIFF file"),
            Content::Jpeg => ("image/jpeg", "a JPEG file"),
        };
        match looks_like(bytes) {
            Some(looks) if looks == is => Ok(()),
            looks => Err(unprocessable(format!(
                "the content type says {said}, but the bytes look like {}",
                looks.unwrap_or("nothing that is known here")
            ))),
        }
    }
}

/// `image/png` of `Image/PNG; x=y`.
pub(super) fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

pub(super) fn unsupported(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        detail,
    )
}

pub(super) fn unprocessable(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FRAME", detail)
}

fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    let found = BEGINNINGS
        .iter()
        .find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_that_lies_is_told_what_it_looks_like() {
        let png = b"\x89PNG\r\n\x1a\nrest";
        for (said, bytes, words) in [
            (
                "image/png",
                &b"\xff\xd8\xff\xe0"[..],
                "says image/png, but the bytes look like a JPEG file",
            ),
            ("image/tiff", png, "look like a PNG file"),
            ("image/jpeg", b"<html>", "look like HTML or XML"),
            (
                "image/png",
                b"\x89PNX",
                "look like nothing that is known here",
            ),
            ("application/octet-stream", b"", "no bytes"),
        ] {
            let content = Content::of(Some(said)).unwrap();
            let refused = format!("{:?}", content.check(bytes).unwrap_err());
            assert!(refused.contains(words), "{said}: {refused}");
        }
        for said in [
            Some("image/png"),
            Some("IMAGE/PNG; a=b"),
            Some("application/octet-stream"),
            None,
        ] {
            assert!(Content::of(said).unwrap().check(png).is_ok(), "{said:?}");
        }
    }

    #[test]
    fn what_holds_no_frame_is_refused_with_what_does() {
        for said in [
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/json",
            "",
        ] {
            let refused = format!("{:?}", Content::of(Some(said)).unwrap_err());
            assert!(refused.contains("send image/png"), "{said}: {refused}");
        }
    }
}
