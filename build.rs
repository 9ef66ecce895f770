//! What the linker needs for a Node-API addon. The workspace has no package of
//! its own; `crates/binding` names this file as its build script.

fn main() {
    napi_build::setup();
}
