//! The macros that make a component of a platform.

/// Makes the component of a platform that is [polled](crate::platform::Polling), in the crate of a
/// `cdylib`. For other targets than WebAssembly it does next to nothing.
///
/// `export!(Example)` is a channel of texts. One with media, a login or both has implementations of
/// [`MediaTransfer`](crate::platform::MediaTransfer) and [`Login`](crate::platform::Login), and says so:
/// `export!(Example: media, login)`, in any order.
#[macro_export]
macro_rules! export {
    ($platform:ty $(: $($own:ident),+)?) => {
        $crate::__traits!($platform; $($($own)+)?);

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::component::Component<$platform>;

            impl $crate::component::Exported for $platform {
                fn source(&'static self) -> $crate::component::Source {
                    $crate::component::Source::Polled(self)
                }
            }

            $crate::component::bindings::export!(
                Component with_types_in $crate::component::bindings
            );
        };
    };
}

/// Makes the component of a platform that [calls back](crate::platform::Webhook). Otherwise the same as
/// [`export!`](crate::export).
#[macro_export]
macro_rules! export_with_webhook {
    ($platform:ty $(: $($own:ident),+)?) => {
        $crate::__traits!($platform; $($($own)+)?);

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::component::Component<$platform>;

            impl $crate::component::Exported for $platform {
                fn source(&'static self) -> $crate::component::Source {
                    $crate::component::Source::CallsBack(self)
                }
            }

            $crate::component::bindings::export!(
                Component with_types_in $crate::component::bindings
            );
            $crate::component::webhook_bindings::export!(
                Component with_types_in $crate::component::webhook_bindings
            );
        };
    };
}

/// What a platform does not have answers `unsupported`.
#[doc(hidden)]
#[macro_export]
macro_rules! __traits {
    ($platform:ty;) => {
        impl $crate::platform::MediaTransfer for $platform {}
        impl $crate::platform::Login for $platform {}
    };
    ($platform:ty; media) => {
        impl $crate::platform::Login for $platform {}
    };
    ($platform:ty; login) => {
        impl $crate::platform::MediaTransfer for $platform {}
    };
    ($platform:ty; media login) => {};
    ($platform:ty; login media) => {};
}
