//! The part of CUDA's driver API that a lane needs: a thin `Result` layer and types that own what they made.
