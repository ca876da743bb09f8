//! The world of `wit/` as wasmtime sees it, generated at compile time.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "gateway:channel/channel",
    imports: {
        "wasi:keyvalue/store.open": trappable,
        "wasi:keyvalue/store.[method]bucket.get": async | trappable,
        "wasi:keyvalue/store.[method]bucket.set": async | trappable,
        "wasi:keyvalue/store.[method]bucket.delete": async | trappable,
        "wasi:keyvalue/store.[method]bucket.exists": async | trappable,
        "wasi:keyvalue/store.[method]bucket.list-keys": async | trappable,
        "wasi:keyvalue/atomics.increment": async | trappable,
        default: trappable,
    },
    exports: { default: async | store },
    with: {
        "wasi:http": wasmtime_wasi_http::p3::bindings::http,
        "wasi:random": wasmtime_wasi::p3::bindings::random,
        "wasi:keyvalue/store.bucket": crate::sandbox::bucket::OpenBucket,
    },
});
