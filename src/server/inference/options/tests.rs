//! What is understood, and what clients are told of what is not.

use super::*;
use crate::inference::infer_parameter::ParameterChoice as Choice;

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
    for (told, expected) in [
        (
            "thresholds.confidence 2: must be 0 to 1",
            "parameter confidence 2: must be 0 to 1",
        ),
        (
            "normalization.percentiles.min_span -1: must be 0 or more",
            "parameter min_span -1: must be 0 or more",
        ),
        (
            "normalization.window 5..3: low must be below high",
            "parameter normalization window 5..3: low must be below high",
        ),
        ("the daemon is draining", "the daemon is draining"),
    ] {
        assert_eq!(in_parameters(told), expected);
    }
}
