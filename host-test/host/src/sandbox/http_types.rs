//! `wasi:http`, with its memory counted: each function that lets a component keep something in the
//! host's memory is wrapped here. It calls wasmtime's function if the account's budget has room.
//!
//! - Strings are bounded by what HTTP needs. Otherwise a method could have 30 MB.
//! - A function without an error for this ends the instance. A component that goes on asking after
//!   many refusals is ended as well.

use wasmtime::AsContextMut;
use wasmtime::component::{
    Access, Accessor, FutureReader, HasData, Linker, Resource, StreamReader,
};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p3::bindings::http::{client, types};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{FieldMap, WasiHttp, WasiHttpCtxView, WasiHttpView};

use super::Sandbox;
use super::held::{HANDLE_BYTES, Held, weight_of_fields, weight_of_new};
use super::limits::Exceeded;
use super::tenant::Tenant;

/// The longest method and the longest scheme that are no standard ones.
const TOKEN_BYTES: usize = 64;
/// The longest authority: a name of 253 bytes, a port, and a user that the egress refuses.
const AUTHORITY_BYTES: usize = 1024;
/// The longest path with its query.
const PATH_BYTES: usize = 16 * 1024;
/// How often a component may meet its limit before that ends it.
const REFUSALS: u32 = 100;

type HeaderError = TrappableError<types::HeaderError>;
type HttpError = TrappableError<types::ErrorCode>;
type OptionsError = TrappableError<types::RequestOptionsError>;
type Trailers = FutureReader<Result<Option<Resource<FieldMap>>, types::ErrorCode>>;
type Sent = FutureReader<Result<(), types::ErrorCode>>;

/// `wasi:http` of an instance.
pub(super) struct Http;

impl HasData for Http {
    type Data<'a> = View<'a>;
}

/// What its functions work on.
pub(super) struct View<'a> {
    inner: WasiHttpCtxView<'a>,
    held: &'a mut Held,
    tenant: &'a Tenant,
}

/// Puts the functions into the linker.
pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    client::add_to_linker::<Sandbox, Http>(linker, Sandbox::held_http)?;
    types::add_to_linker::<Sandbox, Http>(linker, Sandbox::held_http)
}

impl Sandbox {
    fn held_http(&mut self) -> View<'_> {
        View {
            inner: WasiHttpCtxView {
                ctx: &mut self.http,
                table: &mut self.table,
                hooks: &mut self.hooks,
            },
            held: &mut self.held,
            tenant: &self.tenant,
        }
    }
}

impl View<'_> {
    /// Reserves room. Without room the call traps.
    fn room(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.held.grow(self.inner.table, bytes)
    }

    /// Reserves room. Without room it tells the operator, and the call returns its own error.
    fn has_room(&mut self, bytes: usize) -> Result<bool, Exceeded> {
        let Err(exceeded) = self.room(bytes) else {
            self.held.refusals = 0;
            return Ok(true);
        };
        self.held.refusals += 1;
        if self.held.refusals > REFUSALS {
            return Err(exceeded);
        }
        self.tenant.refuse(&exceeded);
        Ok(false)
    }

    /// Whether a text of a request may be set.
    fn may_set(&mut self, text: Option<&str>, longest: usize) -> Result<bool, Exceeded> {
        let bytes = text.map_or(0, str::len);
        Ok(bytes <= longest && self.has_room(bytes)?)
    }

    /// Reserves room for fields, whose functions have an error for this.
    fn room_for_fields(&mut self, bytes: usize) -> Result<(), HeaderError> {
        match self.has_room(bytes).map_err(HeaderError::trap)? {
            true => Ok(()),
            false => Err(types::HeaderError::SizeExceeded.into()),
        }
    }

    fn fields_weight(&self, fields: &Resource<FieldMap>) -> wasmtime::Result<usize> {
        Ok(HANDLE_BYTES + weight_of_fields(self.inner.table.get(fields)?))
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: HttpError) -> wasmtime::Result<types::ErrorCode> {
        types::Host::convert_error_code(&mut self.inner, error)
    }

    fn convert_header_error(&mut self, error: HeaderError) -> wasmtime::Result<types::HeaderError> {
        types::Host::convert_header_error(&mut self.inner, error)
    }

    fn convert_request_options_error(
        &mut self,
        error: OptionsError,
    ) -> wasmtime::Result<types::RequestOptionsError> {
        types::Host::convert_request_options_error(&mut self.inner, error)
    }
}

impl types::HostFields for View<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<FieldMap>> {
        self.room(HANDLE_BYTES)?;
        types::HostFields::new(&mut self.inner)
    }

    fn from_list(
        &mut self,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Result<Resource<FieldMap>, HeaderError> {
        let each = entries
            .iter()
            .map(|(name, value)| weight_of_new(name, value));
        self.room_for_fields(HANDLE_BYTES + each.sum::<usize>())?;
        self.inner.from_list(entries)
    }

    fn get(&mut self, fields: Resource<FieldMap>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        types::HostFields::get(&mut self.inner, fields, name)
    }

    fn has(&mut self, fields: Resource<FieldMap>, name: String) -> wasmtime::Result<bool> {
        self.inner.has(fields, name)
    }

    fn set(
        &mut self,
        fields: Resource<FieldMap>,
        name: String,
        values: Vec<Vec<u8>>,
    ) -> Result<(), HeaderError> {
        let each = values.iter().map(|value| weight_of_new(&name, value));
        self.room_for_fields(each.sum())?;
        self.inner.set(fields, name, values)
    }

    fn delete(&mut self, fields: Resource<FieldMap>, name: String) -> Result<(), HeaderError> {
        types::HostFields::delete(&mut self.inner, fields, name)
    }

    fn get_and_delete(
        &mut self,
        fields: Resource<FieldMap>,
        name: String,
    ) -> Result<Vec<Vec<u8>>, HeaderError> {
        self.inner.get_and_delete(fields, name)
    }

    fn append(
        &mut self,
        fields: Resource<FieldMap>,
        name: String,
        value: Vec<u8>,
    ) -> Result<(), HeaderError> {
        self.room_for_fields(weight_of_new(&name, &value))?;
        self.inner.append(fields, name, value)
    }

    fn copy_all(&mut self, fields: Resource<FieldMap>) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        self.inner.copy_all(fields)
    }

    fn clone(&mut self, fields: Resource<FieldMap>) -> wasmtime::Result<Resource<FieldMap>> {
        // They share one map until one of the two is changed.
        let weight = self.fields_weight(&fields)?;
        self.room(weight)?;
        types::HostFields::clone(&mut self.inner, fields)
    }

    fn drop(&mut self, fields: Resource<FieldMap>) -> wasmtime::Result<()> {
        types::HostFields::drop(&mut self.inner, fields)
    }
}

/// The same store for wasmtime's own functions.
fn own<'a>(store: &'a mut Access<'_, Sandbox, Http>) -> Access<'a, Sandbox, WasiHttp> {
    Access::new(store.as_context_mut(), |sandbox| sandbox.http())
}

impl types::HostRequestWithStore<Sandbox> for Http {
    fn new(
        mut store: Access<'_, Sandbox, Self>,
        headers: Resource<FieldMap>,
        contents: Option<StreamReader<u8>>,
        trailers: Trailers,
        options: Option<Resource<types::RequestOptions>>,
    ) -> wasmtime::Result<(Resource<Request>, Sent)> {
        store.get().room(HANDLE_BYTES)?;
        let store = own(&mut store);
        <WasiHttp as types::HostRequestWithStore<Sandbox>>::new(
            store, headers, contents, trailers, options,
        )
    }

    fn consume_body(
        mut store: Access<'_, Sandbox, Self>,
        request: Resource<Request>,
        result: Sent,
    ) -> wasmtime::Result<(StreamReader<u8>, Trailers)> {
        let store = own(&mut store);
        <WasiHttp as types::HostRequestWithStore<Sandbox>>::consume_body(store, request, result)
    }

    fn drop(
        mut store: Access<'_, Sandbox, Self>,
        request: Resource<Request>,
    ) -> wasmtime::Result<()> {
        let store = own(&mut store);
        <WasiHttp as types::HostRequestWithStore<Sandbox>>::drop(store, request)
    }
}

impl types::HostRequest for View<'_> {
    fn get_method(&mut self, request: Resource<Request>) -> wasmtime::Result<types::Method> {
        self.inner.get_method(request)
    }

    fn set_method(
        &mut self,
        request: Resource<Request>,
        method: types::Method,
    ) -> wasmtime::Result<Result<(), ()>> {
        let other = match &method {
            types::Method::Other(method) => Some(method.as_str()),
            _ => None,
        };
        match self.may_set(other, TOKEN_BYTES)? {
            true => self.inner.set_method(request, method),
            false => Ok(Err(())),
        }
    }

    fn get_path_with_query(
        &mut self,
        request: Resource<Request>,
    ) -> wasmtime::Result<Option<String>> {
        self.inner.get_path_with_query(request)
    }

    fn set_path_with_query(
        &mut self,
        request: Resource<Request>,
        path: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        match self.may_set(path.as_deref(), PATH_BYTES)? {
            true => self.inner.set_path_with_query(request, path),
            false => Ok(Err(())),
        }
    }

    fn get_scheme(
        &mut self,
        request: Resource<Request>,
    ) -> wasmtime::Result<Option<types::Scheme>> {
        self.inner.get_scheme(request)
    }

    fn set_scheme(
        &mut self,
        request: Resource<Request>,
        scheme: Option<types::Scheme>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let other = match &scheme {
            Some(types::Scheme::Other(scheme)) => Some(scheme.as_str()),
            _ => None,
        };
        match self.may_set(other, TOKEN_BYTES)? {
            true => self.inner.set_scheme(request, scheme),
            false => Ok(Err(())),
        }
    }

    fn get_authority(&mut self, request: Resource<Request>) -> wasmtime::Result<Option<String>> {
        self.inner.get_authority(request)
    }

    fn set_authority(
        &mut self,
        request: Resource<Request>,
        authority: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        match self.may_set(authority.as_deref(), AUTHORITY_BYTES)? {
            true => self.inner.set_authority(request, authority),
            false => Ok(Err(())),
        }
    }

    fn get_options(
        &mut self,
        request: Resource<Request>,
    ) -> wasmtime::Result<Option<Resource<types::RequestOptions>>> {
        self.room(HANDLE_BYTES)?;
        self.inner.get_options(request)
    }

    fn get_headers(&mut self, request: Resource<Request>) -> wasmtime::Result<Resource<FieldMap>> {
        let headers = &self.inner.table.get(&request)?.headers;
        let weight = HANDLE_BYTES + weight_of_fields(headers);
        self.room(weight)?;
        types::HostRequest::get_headers(&mut self.inner, request)
    }
}

impl types::HostRequestOptions for View<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<types::RequestOptions>> {
        self.room(HANDLE_BYTES)?;
        types::HostRequestOptions::new(&mut self.inner)
    }

    fn get_connect_timeout(
        &mut self,
        options: Resource<types::RequestOptions>,
    ) -> wasmtime::Result<Option<u64>> {
        self.inner.get_connect_timeout(options)
    }

    fn set_connect_timeout(
        &mut self,
        options: Resource<types::RequestOptions>,
        duration: Option<u64>,
    ) -> Result<(), OptionsError> {
        self.inner.set_connect_timeout(options, duration)
    }

    fn get_first_byte_timeout(
        &mut self,
        options: Resource<types::RequestOptions>,
    ) -> wasmtime::Result<Option<u64>> {
        self.inner.get_first_byte_timeout(options)
    }

    fn set_first_byte_timeout(
        &mut self,
        options: Resource<types::RequestOptions>,
        duration: Option<u64>,
    ) -> Result<(), OptionsError> {
        self.inner.set_first_byte_timeout(options, duration)
    }

    fn get_between_bytes_timeout(
        &mut self,
        options: Resource<types::RequestOptions>,
    ) -> wasmtime::Result<Option<u64>> {
        self.inner.get_between_bytes_timeout(options)
    }

    fn set_between_bytes_timeout(
        &mut self,
        options: Resource<types::RequestOptions>,
        duration: Option<u64>,
    ) -> Result<(), OptionsError> {
        self.inner.set_between_bytes_timeout(options, duration)
    }

    fn clone(
        &mut self,
        options: Resource<types::RequestOptions>,
    ) -> wasmtime::Result<Resource<types::RequestOptions>> {
        self.room(HANDLE_BYTES)?;
        types::HostRequestOptions::clone(&mut self.inner, options)
    }

    fn drop(&mut self, options: Resource<types::RequestOptions>) -> wasmtime::Result<()> {
        types::HostRequestOptions::drop(&mut self.inner, options)
    }
}

impl types::HostResponseWithStore<Sandbox> for Http {
    fn new(
        mut store: Access<'_, Sandbox, Self>,
        headers: Resource<FieldMap>,
        contents: Option<StreamReader<u8>>,
        trailers: Trailers,
    ) -> wasmtime::Result<(Resource<Response>, Sent)> {
        store.get().room(HANDLE_BYTES)?;
        let store = own(&mut store);
        <WasiHttp as types::HostResponseWithStore<Sandbox>>::new(store, headers, contents, trailers)
    }

    fn consume_body(
        mut store: Access<'_, Sandbox, Self>,
        response: Resource<Response>,
        result: Sent,
    ) -> wasmtime::Result<(StreamReader<u8>, Trailers)> {
        let store = own(&mut store);
        <WasiHttp as types::HostResponseWithStore<Sandbox>>::consume_body(store, response, result)
    }

    fn drop(
        mut store: Access<'_, Sandbox, Self>,
        response: Resource<Response>,
    ) -> wasmtime::Result<()> {
        let store = own(&mut store);
        <WasiHttp as types::HostResponseWithStore<Sandbox>>::drop(store, response)
    }
}

impl types::HostResponse for View<'_> {
    fn get_status_code(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        self.inner.get_status_code(response)
    }

    fn set_status_code(
        &mut self,
        response: Resource<Response>,
        status: u16,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.inner.set_status_code(response, status)
    }

    fn get_headers(
        &mut self,
        response: Resource<Response>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        let headers = &self.inner.table.get(&response)?.headers;
        let weight = HANDLE_BYTES + weight_of_fields(headers);
        self.room(weight)?;
        types::HostResponse::get_headers(&mut self.inner, response)
    }
}

impl client::Host for View<'_> {}

impl client::HostWithStore<Sandbox> for Http {
    async fn send(
        store: &Accessor<Sandbox, Self>,
        request: Resource<Request>,
    ) -> Result<Resource<Response>, HttpError> {
        let inner = store.with_getter::<WasiHttp>(Sandbox::http);
        let response = <WasiHttp as client::HostWithStore<Sandbox>>::send(&inner, request).await?;
        store.with(|mut access| {
            let mut view = access.get();
            let taken = view.inner.table.get(&response).map_err(HttpError::trap)?;
            let weight = HANDLE_BYTES + weight_of_fields(&taken.headers);
            // It is in the table already; its body has a charge of its own.
            view.room(weight).map_err(HttpError::trap)
        })?;
        Ok(response)
    }
}
