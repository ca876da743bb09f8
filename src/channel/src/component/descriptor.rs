//! What a component says of itself: one file for each platform.

#[cfg(feature = "wecom")]
mod wecom;
#[cfg(feature = "weixin")]
mod weixin;

#[cfg(feature = "wecom")]
pub use wecom::descriptor;
#[cfg(feature = "weixin")]
pub use weixin::descriptor;
