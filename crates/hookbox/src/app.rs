//! A program with handlers and effects of its own.

use std::process::ExitCode;

use hookbox_worker::{Effect, Handler};
use serde::de::DeserializeOwned;

use crate::compose::{BoxError, HandlerStore, Registry};
use crate::process;

/// A program with every command, role, metric and config key of hookbox, and with handlers of its
/// own beside those that come with hookbox.
///
/// A route of the config names a handler by its `NAME`: `handler = { kind = "book-receipt" }`. An
/// effect ([`App::effect`]) is named in the same way.
///
/// ```no_run
/// use hookbox::prelude::*;
///
/// struct BookReceipt;
///
/// #[derive(Deserialize)]
/// #[serde(crate = "hookbox::serde")]
/// struct InvoicePaid {
///     invoice: String,
/// }
///
/// impl Handler<Postgres> for BookReceipt {
///     const NAME: &'static str = "book-receipt";
///     type Payload = InvoicePaid;
///
///     async fn handle(
///         &self,
///         event: &Event<InvoicePaid>,
///         tx: &mut PgConnection,
///     ) -> Result<(), HandlerError> {
///         sqlx::query("insert into accounting.receipts (invoice) values ($1)")
///             .bind(&event.payload.invoice)
///             .execute(tx)
///             .await?;
///         Ok(())
///     }
/// }
///
/// fn main() -> ExitCode {
///     hookbox::App::new().handler(BookReceipt).main()
/// }
/// ```
///
/// A handler for both databases is added once for each:
/// `.handler::<Postgres, _>(BookReceipt).handler::<Sqlite, _>(BookReceipt)`. A config that names
/// the handler is refused if the handler was not added for the database of its store.
pub struct App {
    handlers: Registry,
}

impl App {
    /// Creates a program with the handlers that come with hookbox.
    #[expect(
        clippy::new_without_default,
        reason = "a program is built in one expression, which begins with `new`"
    )]
    pub fn new() -> Self {
        let handlers = Registry::built_in();
        Self { handlers }
    }

    /// Adds a handler without settings. All routes that name it share this value.
    ///
    /// `S` is inferred if the handler is written for one database.
    #[must_use]
    pub fn handler<S: HandlerStore, H: Handler<S>>(mut self, handler: H) -> Self {
        self.handlers.add::<S, H>(handler);
        self
    }

    /// Adds a handler with settings: the keys of the route's `handler` beside `kind`, deserialized
    /// into `T`. Each route that names the handler has its own settings, and `make` is called for
    /// each of them, when a worker starts and by `check-config`. A key for which `T` has no field,
    /// at any level, is a mistake in the config, and so is an error of `make`.
    ///
    /// ```no_run
    /// # use hookbox::prelude::*;
    /// #[derive(Deserialize)]
    /// #[serde(crate = "hookbox::serde")]
    /// struct Settings {
    ///     currency: String,
    /// }
    ///
    /// struct BookReceipt {
    ///     settings: Settings,
    /// }
    /// # impl Handler<Postgres> for BookReceipt {
    /// #     const NAME: &'static str = "book-receipt";
    /// #     type Payload = Json;
    /// #     async fn handle(
    /// #         &self,
    /// #         _: &Event<Json>,
    /// #         _: &mut PgConnection,
    /// #     ) -> Result<(), HandlerError> {
    /// #         Err(HandlerError::permanent(self.settings.currency.clone()))
    /// #     }
    /// # }
    ///
    /// fn main() -> ExitCode {
    ///     hookbox::App::new().handler_with(|settings| Ok(BookReceipt { settings })).main()
    /// }
    /// ```
    #[must_use]
    pub fn handler_with<S, H, T>(
        mut self,
        make: impl Fn(T) -> Result<H, BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        S: HandlerStore,
        H: Handler<S>,
        T: DeserializeOwned,
    {
        self.handlers.add_with::<S, H, T>(make);
        self
    }

    /// Adds an effect without settings: an external call for each event. All routes that name it
    /// share this value. An effect works with both databases.
    ///
    /// ```no_run
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    ///
    /// use hookbox::prelude::*;
    ///
    /// struct Notify {
    ///     target: TargetName,
    /// }
    ///
    /// impl Effect for Notify {
    ///     const NAME: &'static str = "notify";
    ///     type Payload = Json;
    ///
    ///     fn target(&self) -> &TargetName {
    ///         &self.target
    ///     }
    ///
    ///     fn limits(&self) -> TargetLimits {
    ///         let concurrency = NonZeroU32::MIN.saturating_add(15);
    ///         TargetLimits { concurrency, rate: None }
    ///     }
    ///
    ///     fn time_limit(&self) -> Duration {
    ///         Duration::from_secs(10)
    ///     }
    ///
    ///     async fn call(&self, event: &Event<Json>, call: &Call) -> Result<(), CallError> {
    ///         // Send the event with `call.key` as its idempotency key.
    ///         let _ = (event, &call.key);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn main() -> ExitCode {
    ///     let target = "https://crm.example.com".parse().expect("the name of a target");
    ///     hookbox::App::new().effect(Notify { target }).main()
    /// }
    /// ```
    #[must_use]
    pub fn effect<E: Effect>(mut self, effect: E) -> Self {
        self.handlers.add_effect(effect);
        self
    }

    /// Adds an effect with settings, as [`App::handler_with`] adds a handler.
    #[must_use]
    pub fn effect_with<E, T>(
        mut self,
        make: impl Fn(T) -> Result<E, BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        E: Effect,
        T: DeserializeOwned,
    {
        self.handlers.add_effect_with::<E, T>(make);
        self
    }

    /// Runs the program with the arguments of the process, and returns its exit code.
    pub fn main(self) -> ExitCode {
        process::main(&self.handlers)
    }
}
