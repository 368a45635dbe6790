//! What is understood, and what clients are told of what is not.

use super::*;
use crate::{
    backend::{
        Backend,
        fake::{self, FakeBackend},
    },
    config::LimitSettings,
    inference::infer_parameter::ParameterChoice as Choice,
    server::convert::Settled,
};

fn asked(given: &[(&str, Choice)]) -> Result<Wishes, Status> {
    let given = given.iter().map(|(name, choice)| {
        let parameter = InferParameter {
            parameter_choice: Some(choice.clone()),
        };
        ((*name).to_owned(), parameter)
    });
    Wishes::new("model", &given.collect())
}

#[test]
fn every_parameter_that_is_said_to_be_understood_is() {
    for name in UNDERSTOOD {
        for choice in [
            Choice::Int64Param(1),
            Choice::StringParam("1".to_owned()),
            Choice::BoolParam(true),
        ] {
            let told = asked(&[(name, choice)])
                .err()
                .map(|status| status.message().to_owned());
            let told = told.unwrap_or_default();
            assert!(!told.contains("unexpected parameter"), "{name}: {told}");
        }
    }
}

#[test]
fn numbers_come_as_each_client_writes_them() {
    for choice in [
        Choice::Int64Param(1),
        Choice::Uint64Param(1),
        Choice::DoubleParam(1.0),
        Choice::StringParam("1".to_owned()),
    ] {
        let wishes = asked(&[("confidence", choice)]).unwrap();
        assert_eq!(wishes.thresholds.confidence, Some(1.0));
    }
}

#[test]
fn what_cannot_be_meant_names_what_would_be() {
    let word = |text: &str| Choice::StringParam(text.to_owned());
    for (name, choice, part) in [
        ("confidense", word("0.5"), "understood are confidence"),
        (
            "confidence",
            word("high"),
            "parameter 'confidence' is \"high\": a number between -3.4e38 and 3.4e38 is expected",
        ),
        ("max_cells", Choice::Int64Param(-1), "a whole number from 0"),
        ("border", word("cut"), "one of keep, drop, unbiased"),
        ("track", Choice::BoolParam(true), "needs a sequence"),
        (
            "max_gap",
            Choice::Int64Param(3),
            "need the parameter 'track'",
        ),
        (
            "sequence_start",
            Choice::BoolParam(true),
            "need a sequence_id",
        ),
        (
            "normalization",
            word("window"),
            "\"window\" with low and high",
        ),
        (
            "low",
            Choice::DoubleParam(1.0),
            "\"window\" with low and high",
        ),
        ("classes", word("0;2"), "class indices"),
    ] {
        let told = asked(&[(name, choice)]).unwrap_err();
        assert_eq!(told.code(), tonic::Code::InvalidArgument);
        assert!(told.message().contains(part), "{name}: {}", told.message());
    }
}

#[test]
fn what_a_session_refuses_is_called_as_the_client_called_it() {
    let number = Choice::DoubleParam;
    let word = |text: &str| Choice::StringParam(text.to_owned());
    let tracked = [
        ("track", Choice::BoolParam(true)),
        ("sequence_id", Choice::Int64Param(1)),
    ];
    let with = |more: &[(&'static str, Choice)]| [&tracked, more].concat();
    let fake = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4)));
    for (given, expected) in [
        (
            vec![("confidence", number(2.0))],
            "parameter confidence 2: must be 0 to 1",
        ),
        (
            vec![
                ("normalization", word("percentiles")),
                ("low", number(1.0)),
                ("high", number(99.0)),
                ("min_span", number(-1.0)),
            ],
            "parameter min_span -1: must be 0 to 1000000",
        ),
        (
            vec![
                ("normalization", word("window")),
                ("low", number(5.0)),
                ("high", number(3.0)),
            ],
            "parameter normalization window 5..3: low must be below high, both -1000000 to 1000000 counts",
        ),
        (
            vec![("overlap", number(0.6))],
            "parameter overlap 0.6: must be 0 to 0.5 of a tile's side",
        ),
        (
            with(&[("max_distance_um", number(-1.0))]),
            "parameter max_distance_um -1: must be above 0",
        ),
        (
            with(&[
                ("max_distance_px", number(1.0)),
                ("max_distance_um", number(2.0)),
            ]),
            "parameter max_distance_px 1 and max_distance_um 2: give one of them",
        ),
    ] {
        let wishes = asked(&given).unwrap();
        let options = pb::SessionOptions {
            thresholds: Some(wishes.thresholds),
            ..wishes.options
        };
        let settled = Settled::new(&options, fake.model(), &LimitSettings::default());
        let Err(refused) = settled.map_err(Status::from) else {
            panic!("not refused: {expected}");
        };
        assert_eq!(in_parameters(refused.message()), expected);
    }
    let other = "the daemon is draining";
    assert_eq!(in_parameters(other), other);
}
