//! Micromegas' ingestion server, SQL server, HTTP gateway and maintenance in one process, their own authentication off.
//!
//! `PEER_INGESTION`, `PEER_FLIGHT` and `PEER_HTTP` are where they listen; the libraries read
//! `MICROMEGAS_SQL_CONNECTION_STRING`, `MICROMEGAS_OBJECT_STORE_URI` and `MICROMEGAS_GATEWAY_HEADERS`. With the argument
//! `send` it is a program that sends lines and a number by Micromegas' own sink instead, to `MICROMEGAS_TELEMETRY_URL`
//! with `MICROMEGAS_INGESTION_API_KEY`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use micromegas::analytics::lakehouse::lakehouse_context::LakehouseContext;
use micromegas::analytics::lakehouse::view_factory::default_view_factory;
use micromegas::axum::{self, Extension, Router};
use micromegas::ingestion::data_lake_config::DataLakeConfig;
use micromegas::ingestion::remote_data_lake::connect_to_remote_data_lake;
use micromegas::servers::flight_sql_server::FlightSqlServer;
use micromegas::servers::http_gateway::{GatewayConfig, register_routes};
use micromegas::servers::ingestion::serve_ingestion;
use micromegas::servers::maintenance::{daemon, get_global_views_with_update_group};
use micromegas::servers::shutdown::{ShutdownFanout, wait_for_sigterm};
use micromegas::tracing::prelude::*;

/// How long they go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// How many days the maintenance keeps.
const KEPT: i32 = 90;

fn address(variable: &str) -> Result<SocketAddr> {
    let text = std::env::var(variable).with_context(|| variable.to_owned())?;
    text.parse().with_context(|| format!("{variable}={text}"))
}

#[micromegas::micromegas_main(interop_max_level = "info", local_sink_max_level = "info", system_metrics = false)]
async fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("send") {
        (0..3).for_each(|line| info!("sent by the sink, {line}"));
        imetric!("peer_metric", "count", 1);
        return Ok(());
    }
    let config = DataLakeConfig::from_env()?;
    let lake = connect_to_remote_data_lake(&config.sql_connection_string, &config.object_store_uri).await?;
    let house = LakehouseContext::from_connection(Arc::new(lake)).await?;
    let stop = ShutdownFanout::new(wait_for_sigterm());
    let (ingestion, flight, http) = (address("PEER_INGESTION")?, address("PEER_FLIGHT")?, address("PEER_HTTP")?);

    let ingest = serve_ingestion(ingestion, house.lake().as_ref().clone(), None, stop.subscribe(), GRACE);
    let query = FlightSqlServer::builder()
        .with_lakehouse(house.clone())
        .with_listen_addr(flight)
        .with_shutdown(stop.subscribe())
        .with_shutdown_grace(GRACE)
        .build_and_serve();
    let gateway = async {
        let config = GatewayConfig::new(format!("http://{flight}").parse()?)?;
        let app = register_routes(Router::new()).layer(Extension(Arc::new(config)));
        let listener = tokio::net::TcpListener::bind(http).await?;
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        Ok(axum::serve(listener, service).with_graceful_shutdown(stop.subscribe()).await?)
    };
    let maintenance = async {
        let (runtime, lake) = (house.runtime().clone(), house.lake().clone());
        let views = default_view_factory(runtime, lake, house.default_audience()).await?;
        daemon(house.clone(), get_global_views_with_update_group(&views), KEPT, stop.subscribe(), GRACE).await
    };
    tokio::try_join!(ingest, query, gateway, maintenance)?;
    Ok(())
}
