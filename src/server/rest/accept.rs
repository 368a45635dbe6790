//! In which form a client wants its cells.

use axum::http::{HeaderMap, StatusCode, header::ACCEPT};

use crate::server::problem::Problem;

/// A form in which cells are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The contract's own message.
    Json,
    /// A polygon a cell, as QuPath reads it.
    GeoJson,
    /// Label image, 16-bit PNG.
    Labels,
    /// The frame with outlines.
    Overlay,
    /// Label image, OME-TIFF.
    Tiff,
    /// A row a cell.
    Csv,
    /// ImageJ's regions of interest.
    Roi,
}

impl Form {
    /// Every one of them, the most wanted first: that decides where a client likes several as much.
    pub(super) const ALL: [Form; 7] = [
        Form::Json,
        Form::GeoJson,
        Form::Labels,
        Form::Overlay,
        Form::Tiff,
        Form::Csv,
        Form::Roi,
    ];

    /// As `?as=` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Form::Json => "json",
            Form::GeoJson => "geojson",
            Form::Labels => "labels",
            Form::Overlay => "overlay",
            Form::Tiff => "tiff",
            Form::Csv => "csv",
            Form::Roi => "roi",
        }
    }

    /// What its bytes are.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::GeoJson => "application/geo+json",
            Form::Labels | Form::Overlay => "image/png",
            Form::Tiff => "image/tiff",
            Form::Csv => "text/csv; charset=utf-8; header=present",
            Form::Roi => "application/zip",
        }
    }

    /// Told from other forms of its media type by `kind=`.
    fn kind(self) -> Option<&'static str> {
        match self {
            Form::Labels => Some("labels"),
            Form::Overlay => Some("overlay"),
            _ => None,
        }
    }

    /// As a client asks for it.
    fn asked_for(self) -> String {
        let media_type = self.media_type().split(';').next().unwrap_or_default();
        match self {
            Form::Overlay => format!("{media_type};kind=overlay (?as=overlay)"),
            _ => format!("{media_type} (?as={})", self.name()),
        }
    }
}

/// What `?as=` names, else what `Accept` likes best, else JSON.
pub(super) fn chosen(named: Option<&str>, headers: &HeaderMap) -> Result<Form, Problem> {
    if let Some(named) = named {
        let form = Form::ALL.into_iter().find(|form| form.name() == named);
        return form.ok_or_else(|| not_acceptable(&format!("as={named}")));
    }
    let values: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accept = values.join(",");
    let ranges: Vec<Range> = accept.split(',').filter_map(Range::of).collect();
    if ranges.is_empty() {
        return Ok(Form::Json);
    }
    let mut best: Option<(f32, Form)> = None;
    for form in Form::ALL {
        let matching = ranges.iter().filter(|range| range.holds(form));
        // Of ranges that hold it the narrowest counts (RFC 9110, 12.5.1).
        let quality = matching.max_by_key(|range| range.narrowness());
        let quality = quality.map_or(0.0, |range| range.quality);
        if best.is_none_or(|(of_best, _)| of_best < quality) {
            best = Some((quality, form));
        }
    }
    match best {
        Some((quality, form)) if 0.0 < quality => Ok(form),
        _ => Err(not_acceptable(&format!("Accept: {accept}"))),
    }
}

fn not_acceptable(asked: &str) -> Problem {
    let there_are = Form::ALL.map(Form::asked_for).join(", ");
    let detail = format!("{asked}: there are {there_are}");
    Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", detail)
}

/// One of `Accept`'s media ranges.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    kind: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    /// None: it is not one, and asks for nothing.
    fn of(text: &'a str) -> Option<Self> {
        let mut pieces = text.split(';').map(str::trim);
        let (main, sub) = pieces.next()?.split_once('/')?;
        let mut range = Range {
            main,
            sub,
            kind: None,
            quality: 1.0,
        };
        for (name, value) in pieces.filter_map(|piece| piece.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => {
                    range.quality = value
                        .trim()
                        .parse()
                        .ok()
                        .filter(|q| (0.0..=1.0).contains(q))?
                }
                "kind" => range.kind = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        Some(range)
    }

    fn holds(&self, form: Form) -> bool {
        let media_type = form.media_type().split(';').next().unwrap_or_default();
        let (main, sub) = media_type.split_once('/').unwrap_or_default();
        let is = |asked: &str, is: &str| asked == "*" || asked.eq_ignore_ascii_case(is);
        let is_kind = match (self.kind, form.kind()) {
            (Some(asked), Some(kind)) => asked.eq_ignore_ascii_case(kind),
            // A picture to look at is made for those who say so.
            (None, _) => form != Form::Overlay,
            (Some(_), None) => true,
        };
        is(self.main, main) && is(self.sub, sub) && is_kind
    }

    fn narrowness(&self) -> u8 {
        u8::from(self.main != "*") + u8::from(self.sub != "*") + u8::from(self.kind.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        chosen(None, &headers).ok()
    }

    #[test]
    fn the_form_that_is_liked_best_is_chosen() {
        for (accept, expected) in [
            ("*/*", Some(Form::Json)),
            ("application/json", Some(Form::Json)),
            ("application/geo+json", Some(Form::GeoJson)),
            ("image/png", Some(Form::Labels)),
            ("image/*", Some(Form::Labels)),
            ("IMAGE/PNG; kind=overlay", Some(Form::Overlay)),
            ("image/png;kind=labels", Some(Form::Labels)),
            ("image/tiff", Some(Form::Tiff)),
            ("text/csv; charset=utf-8", Some(Form::Csv)),
            ("application/zip", Some(Form::Roi)),
            (
                "text/csv;q=0.5, image/tiff;q=0.9, */*;q=0.1",
                Some(Form::Tiff),
            ),
            ("application/json;q=0, */*", Some(Form::GeoJson)),
            (
                "text/html, application/xhtml+xml, */*;q=0.8",
                Some(Form::Json),
            ),
            ("text/html", None),
            ("image/png;kind=heatmap", None),
            ("application/json;q=0", None),
            ("", Some(Form::Json)),
            ("rubbish", Some(Form::Json)),
        ] {
            assert_eq!(form(accept), expected, "{accept}");
        }
    }

    #[test]
    fn what_is_named_counts_before_what_is_accepted() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "text/html".parse().unwrap());
        for form in Form::ALL {
            assert_eq!(chosen(Some(form.name()), &headers).unwrap(), form);
        }
        let said = format!("{:?}", chosen(Some("pdf"), &headers).unwrap_err());
        assert!(
            said.contains("as=pdf: there are application/json (?as=json)"),
            "{said}"
        );
    }
}
