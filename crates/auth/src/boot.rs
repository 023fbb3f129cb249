//! From settings and a store to an authority: a new cluster on the first start, the same one ever after.

use std::sync::Arc;

use model::resource::Role;
use model::{ClusterName, Timestamp};
use runtime::{Clock, Health, Random};
use serde::{Deserialize, Serialize};
use store::{Blobs, Condition, Shelf, Store, StoreError, Txn};

use crate::authority::{Core, Limits};
use crate::daily::DailyFiles;
use crate::db::{Db, encode, key, single};
use crate::error::Error;
use crate::keys::{self, KeyCell, Keys};
use crate::looks::{Exports, Looks, Watches};
use crate::password::Hasher;
use crate::rules::{RuleFeed, Rules};
use crate::settings::Settings;
use crate::sink::Writer;
use crate::static_tokens::{StaticTokens, read_static};
use crate::tunnels::{Patience, Tunnels};
use crate::vault::Vault;

/// The cluster's birth certificate.
#[derive(Debug, Serialize, Deserialize)]
struct Cluster {
    name: ClusterName,
    created_at: Timestamp,
}

/// What the authority stands on: given by `bin`, or by a test.
pub struct Ground {
    /// State.
    pub store: Arc<dyn Store>,
    /// Segments of recordings.
    pub blobs: Arc<dyn Blobs>,
    /// What people search and seek recordings by; filled from the segments whenever it is not.
    pub shelf: Arc<dyn Shelf>,
    /// Time.
    pub clock: Clock,
    /// Chance. Keys are made of it.
    pub random: Random,
    /// Where jobs say how they are.
    pub health: Health,
}

/// Opens the cluster in the store, or makes it.
pub(crate) async fn open(settings: Settings, ground: Ground) -> Result<(Arc<Core>, Writer), Error> {
    let Ground { store, blobs, shelf, clock, random, health } = ground;
    let db = Db::new(store);
    let kept = db.get::<Cluster>(&single("cluster")?).await?;
    let vault = Vault::open(&settings.data_dir, kept.is_none(), random.clone())?;
    match kept {
        Some(doc) if doc.value.name != settings.cluster_name => {
            return Err(Error::Renamed { kept: doc.value.name, wanted: settings.cluster_name });
        }
        Some(_) => {}
        None => create(&db, &settings, &vault, &random, clock.now()).await?,
    }
    let static_tokens = StaticTokens::new(read_static(&settings.static_tokens)?);
    let keys = Arc::new(KeyCell::new(Keys::load(&db, &vault).await?));
    let rules = RuleFeed::new(Rules::load(&db, &keys.now(), &settings).await?);
    let files = DailyFiles::new(&settings.data_dir.join("log/events"), clock.clone(), health.clone());
    let (log, writer) = Writer::open(
        db.clone(),
        keys.clone(),
        clock.clone(),
        health.clone(),
        files,
        settings.times.checkpoint,
    )
    .await?;
    let core = Core {
        hasher: Hasher::new(random.clone()),
        tunnels: Tunnels::new(Patience {
            silent: settings.times.tunnel_report,
            lost: settings.times.tunnel_lost,
        }),
        looks: Looks::default(),
        watches: Watches::default(),
        exports: Exports::default(),
        limits: Limits::new(),
        own_hosts: Default::default(),
        settings,
        clock,
        random,
        health,
        db,
        blobs,
        shelf,
        grown: Default::default(),
        vault,
        keys,
        rules,
        log,
        static_tokens,
    };
    Ok((Arc::new(core), writer))
}

/// Makes a cluster, whole or not at all.
async fn create(
    db: &Db,
    settings: &Settings,
    vault: &Vault,
    random: &Random,
    now: Timestamp,
) -> Result<(), Error> {
    let name = settings.cluster_name.clone();
    let mut txn = Txn::new().when(Condition::Absent(single("cluster")?));
    txn = keys::create(txn, &name, vault, random, now)?;
    for role in policy::presets::all() {
        txn = txn.put(key("roles", &role.metadata.name)?, encode::<Role>(&role)?);
    }
    txn = txn.put(single("cluster")?, encode(&Cluster { name: name.clone(), created_at: now })?);
    match db.commit(txn).await {
        Ok(_) => {
            tracing::info!(cluster = %name, "made a new cluster");
            Ok(())
        }
        Err(StoreError::Conflict(_)) => {
            Err(Error::Setting("another server made the cluster at the same time: start again".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}
