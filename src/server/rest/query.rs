//! Parameters in a call's address: those that are asked for most, by name. Everything else is in the parts of a form.

use std::{collections::BTreeMap, str::FromStr};

use axum::{extract, http::Uri};

use crate::server::problem::Problem;

/// A parameter that a call understands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it means, with its unit.
    pub(super) about: &'static str,
}

/// What a parameter's value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// A whole number from 0, of 32 bits.
    Whole,
    /// The same of 64 bits.
    Long,
    Number,
    Truth,
    /// One of these words.
    One(&'static [&'static str]),
    /// Some of these words, with commas between.
    Some(&'static [&'static str]),
}

/// The parameters of a call, each understood.
pub(super) struct Query(BTreeMap<&'static str, String>);

impl Query {
    /// Refuses what is not in `known`, what is there twice and what is not of its kind.
    pub(super) fn of(uri: &Uri, known: &[&'static [Parameter]]) -> Result<Self, Problem> {
        let pairs = extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::bad_request(error.body_text()))?;
        let mut values = BTreeMap::new();
        for (name, value) in pairs.0 {
            let all = || known.iter().copied().flatten();
            let Some(parameter) = all().find(|parameter| parameter.name == name) else {
                let names: Vec<&str> = all().map(|parameter| parameter.name).collect();
                return Err(Problem::bad_request(format!(
                    "parameter {name:?}: there are {}",
                    match names.is_empty() {
                        true => "none here".to_owned(),
                        false => names.join(", "),
                    }
                )));
            };
            parameter.kind.check(&name, &value)?;
            if values.insert(parameter.name, value).is_some() {
                return Err(Problem::bad_request(format!(
                    "parameter {name:?}: once only"
                )));
            }
        }
        Ok(Query(values))
    }

    /// As it was written.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// As what its kind says.
    pub(super) fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// The words of a list.
    pub(super) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let text = self.text(name);
        text.into_iter().flat_map(|text| text.split(','))
    }
}

impl Kind {
    fn check(self, name: &str, value: &str) -> Result<(), Problem> {
        let right = match self {
            Kind::Text => return Ok(()),
            Kind::Whole if value.parse::<u32>().is_ok() => return Ok(()),
            Kind::Whole => format!("a whole number from 0 to {}", u32::MAX),
            Kind::Long if value.parse::<u64>().is_ok() => return Ok(()),
            Kind::Long => format!("a whole number from 0 to {}", u64::MAX),
            // Most of them are of single precision in the contract.
            Kind::Number if value.parse().is_ok_and(f32::is_finite) => return Ok(()),
            Kind::Number => "a number between -3.4e38 and 3.4e38".to_owned(),
            Kind::Truth if value.parse::<bool>().is_ok() => return Ok(()),
            Kind::Truth => "true or false".to_owned(),
            Kind::One(words) if words.contains(&value) => return Ok(()),
            Kind::One(words) => format!("one of {}", words.join(", ")),
            Kind::Some(words) if value.split(',').all(|word| words.contains(&word)) => {
                return Ok(());
            }
            Kind::Some(words) => format!("some of {}, with commas between", words.join(", ")),
        };
        Err(Problem::bad_request(format!(
            "{name}={value}: must be {right}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Parameter] = &[
        Parameter {
            name: "width",
            kind: Kind::Whole,
            about: "",
        },
        Parameter {
            name: "measure",
            kind: Kind::Some(&["shape", "hull"]),
            about: "",
        },
        Parameter {
            name: "pixel_size_um",
            kind: Kind::Number,
            about: "",
        },
    ];

    #[test]
    fn what_is_not_understood_is_named_with_what_would_be_right() {
        for (query, words) in [
            (
                "widht=1",
                "parameter \\\"widht\\\": there are width, measure",
            ),
            ("width=-1", "width=-1: must be a whole number from 0"),
            ("width=1&width=2", "once only"),
            (
                "measure=shape,area",
                "measure=shape,area: must be some of shape, hull",
            ),
            ("pixel_size_um=NaN", "must be a number"),
            ("pixel_size_um=1e308", "must be a number between"),
        ] {
            let uri = format!("/v1/segment?{query}").parse().unwrap();
            let said = format!("{:?}", Query::of(&uri, &[KNOWN]).err().unwrap());
            assert!(said.contains(words), "{query}: {said}");
        }
    }

    #[test]
    fn what_is_understood_is_read() {
        let uri = "/v1/segment?width=640&measure=hull,shape&pixel_size_um=1e-1";
        let query = Query::of(&uri.parse().unwrap(), &[KNOWN]).unwrap();
        assert_eq!(query.get::<u32>("width"), Some(640));
        assert_eq!(query.get::<f64>("pixel_size_um"), Some(0.1));
        assert_eq!(
            query.words("measure").collect::<Vec<_>>(),
            ["hull", "shape"]
        );
        assert_eq!(query.words("nothing").count(), 0);
    }
}
