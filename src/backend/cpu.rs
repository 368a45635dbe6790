//! ONNX on the CPU: rten, embedded, or ONNX Runtime where its library is found.
