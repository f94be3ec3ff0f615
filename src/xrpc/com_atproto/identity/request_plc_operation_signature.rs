//! com.atproto.identity.requestPlcOperationSignature: mails the code that signPlcOperation asks for (MG-13).

use axum::extract::State;

use crate::{
    app::App,
    service::account::email_token::Purpose,
    xrpc::{Caller, NoInput, XrpcError, caller::FullAccessOrTakendown},
};

/// Who is taken down may take their identity elsewhere; app passwords may not (MG-14).
pub(super) async fn request_plc_operation_signature(
    State(app): State<App>,
    caller: Caller<FullAccessOrTakendown>,
    _: NoInput,
) -> Result<(), XrpcError> {
    Ok(app.email_tokens.request(&caller.account, Purpose::PlcOperation).await?)
}
