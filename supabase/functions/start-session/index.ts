// Made by `cargo xtask build --for supabase`, with the WebAssembly in it.
import "./function.generated.js";
