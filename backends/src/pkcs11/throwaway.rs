//! Tokens that are made for a rehearsal and thrown away.

use std::path::Path;

use cryptoki::session::UserType;
use secrecy::SecretString;

use super::{failure::failed, module::Module};
use crate::error::BackendError;

/// What CK_INFO of tokens in software begins with: no device is ever initialised for a rehearsal.
const IN_SOFTWARE: [&str; 2] = ["SoftHSM", "Kryoptic"];

/// Initialises a token of that label, with one PIN for everybody, in a slot whose token was never initialised. A token that is somebody's
/// is never touched.
pub(crate) fn make(module: &Path, label: &str, pin: &SecretString) -> Result<(), BackendError> {
    let module = Module::load(&module.into())?;
    let _inside = module.life.enter();
    let maker = module.context.get_library_info().map_err(failed)?;
    if !IN_SOFTWARE.iter().any(|known| maker.manufacturer_id().starts_with(known)) {
        let detail = format!(
            "rehearsals make tokens in SoftHSM and kryoptic only, and the module is of `{}`",
            maker.manufacturer_id()
        );
        return Err(BackendError::Configuration { detail });
    }
    let slots = module.slots_with_token().map_err(failed)?;
    let is_free = |slot: &cryptoki::slot::Slot| {
        module.context.get_token_info(*slot).is_ok_and(|token| !token.token_initialized())
    };
    let Some(slot) = slots.into_iter().find(is_free) else {
        return Err(BackendError::TokenNotFound {
            token: "that is not initialised".to_owned(),
            present: "initialised ones only".to_owned(),
        });
    };
    module.context.init_token(slot, pin, label).map_err(failed)?;
    let session = module.context.open_rw_session(slot).map_err(failed)?;
    session.login(UserType::So, Some(pin)).map_err(failed)?;
    session.init_pin(pin).map_err(failed)?;
    session.close().map_err(failed)
}
