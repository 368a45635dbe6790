//! Building over what is there.

use std::{fs, process::Command};

use super::{
    machine::{Machine, TRT_10},
    models,
};

#[test]
fn an_engine_is_built_again_with_other_options() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let (onnx, engine) = (machine.path("cell.onnx"), machine.path("cell.engine"));
    fs::write(&onnx, models::ONNX).unwrap();
    let (onnx, name) = (onnx.to_str().unwrap(), engine.to_str().unwrap());
    machine.ok(&["engine", "build", onnx]);
    let first = fs::read(&engine).unwrap();
    // Whatever TensorRT writes, it is another plan than this.
    fs::write(&engine, [&first[..], b"older"].concat()).unwrap();
    machine.fails(78, &["engine", "inspect", name]);
    machine.ok(&["engine", "build", onnx, "--fp16"]);
    let said = machine.ok(&["engine", "inspect", name]);
    assert!(said.contains("fp16"), "{said}");
}

#[test]
fn a_model_is_not_overwritten_by_its_engine() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let onnx = machine.path("cell.onnx");
    fs::write(&onnx, models::ONNX).unwrap();
    let name = onnx.to_str().unwrap();
    let dotted = machine.path("./cell.onnx");
    for output in [name, dotted.to_str().unwrap(), "/dev/full"] {
        let said = machine.fails(2, &["engine", "build", name, "-o", output]);
        assert!(said.contains("use -o"), "{said}");
    }
    assert!(fs::read(&onnx).unwrap() == models::ONNX);
    // Known before the build.
    let absent = machine.path("absent/cell.engine");
    machine.fails(
        1,
        &["engine", "build", name, "-o", absent.to_str().unwrap()],
    );
    assert_eq!(machine.count("buildSerializedNetwork"), 0);
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let pipe = machine.path("cell.engine");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let pipe = pipe.to_str().unwrap();
    for command in [
        &["serve", "--check", "--model", pipe][..],
        &["engine", "inspect", pipe],
    ] {
        let said = machine.fails(78, command);
        assert!(said.contains("not a regular file"), "{said}");
    }
}
