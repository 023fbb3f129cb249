//! Ansible with the stock client, and nothing but what `msh config` prints.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use e2e::gate::{CLUSTER, Gate, NODE, Options};
use e2e::person::Person;
use e2e::run::{LIMIT, Ran, run, run_with};
use e2e::wait::until;

/// The second node.
const OTHER: &str = "node-2";
/// A run starts some Python on each node and in front of them, perhaps on a busy machine.
const PLAY: Duration = Duration::from_secs(240);

/// A role that lets people in, and tells them of being recorded in some way.
const TOLD: &str = "kind: role\nversion: v7\nmetadata:\n  name: told\nspec:\n  options:\n    record_session:\n      \
                    notice: NOTICE\n  allow:\n    logins: [root]\n    node_labels:\n      \"*\": \"*\"\n";

/// Two nodes and somebody with an inventory of both.
struct World {
    person: Person,
    gate: Gate,
    pipelining: &'static str,
}

impl World {
    fn start(pipelining: &'static str, notice: &str) -> Result<Self> {
        let mut gate = Gate::start_apart(Options::default())?;
        gate.start_node(OTHER, "")?;
        gate.online(OTHER)?;
        let role = gate.dir().join("role.yaml");
        std::fs::write(&role, TOLD.replace("NOTICE", notice))?;
        gate.mctl(&["create", "-f", &role.display().to_string()])?.ok()?;
        let person = gate.person("ann", "told", "root")?;
        // What a person has who wrote `msh config >> config`: no line of the test's own.
        std::fs::write(person.home().join("config"), person.msh(&["config"])?.ok()?.stdout)?;
        std::fs::write(person.home().join("ansible.cfg"), "")?;
        let world = Self { person, gate, pipelining };
        world.inventory("")?;
        Ok(world)
    }

    /// Writes the inventory, with more for `ssh` than the person's configuration.
    fn inventory(&self, more: &str) -> Result<()> {
        let home = self.person.home();
        let inventory = format!(
            "{NODE}.{CLUSTER}\n{OTHER}.{CLUSTER}\n\n[all:vars]\nansible_user=root\n\
             ansible_ssh_common_args=-F {}{more}\nansible_remote_tmp={}\n",
            home.join("config").display(),
            self.gate.dir().join("remote").display(),
        );
        Ok(std::fs::write(home.join("inventory"), inventory)?)
    }

    /// Where Ansible's masters listen: one for each node.
    fn sockets(&self) -> PathBuf {
        self.person.home().join("cp")
    }

    fn ansible(&self, arguments: &[&str]) -> Result<Ran> {
        let home = self.person.home();
        let mut command = self.person.program("ansible");
        command.args(["all", "--inventory=inventory", "--forks=2"]).args(arguments);
        command.env("ANSIBLE_CONFIG", home.join("ansible.cfg"));
        command.env("ANSIBLE_HOME", home.join("ansible"));
        command.env("ANSIBLE_SSH_CONTROL_PATH_DIR", self.sockets());
        command.env("ANSIBLE_PIPELINING", self.pipelining).env("ANSIBLE_NOCOLOR", "1");
        run_with(&mut command, b"", PLAY)
    }

    /// Ends the masters, which otherwise wait a minute for more to do.
    fn end_masters(&self) {
        for socket in entries(&self.sockets()) {
            let control = format!("ControlPath={}", socket.display());
            run(&mut self.person.ssh(&["-o", &control, "-O", "exit", "any"])).ok();
            until("the master to end", LIMIT, || (!socket.exists()).then_some(())).ok();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_masters();
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// What an ad hoc run says of each node, once for each.
fn both_say(ran: &Ran, what: &str) {
    for node in [NODE, OTHER] {
        let said = format!("{node}.{CLUSTER} | {what}");
        assert_eq!(ran.text().matches(&said).count(), 1, "{said}\n{}{}", ran.text(), ran.stderr);
    }
}

fn ansible_works(world: &World) -> Result<()> {
    let ping = world.ansible(&["-m", "ping"])?.ok()?;
    both_say(&ping, "SUCCESS");
    assert_eq!(ping.text().matches("\"ping\": \"pong\"").count(), 2, "{}", ping.text());

    let who = world.ansible(&["-m", "command", "-a", "id -un"])?.ok()?;
    both_say(&who, "CHANGED | rc=0 >>\nroot\n");

    let data: Vec<u8> = (0..16_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(world.person.home().join("file"), &data)?;
    let there = world.gate.dir().join("copied");
    // Both nodes are this machine: the address tells their copies apart.
    let copy = format!("src=file dest={}-{{{{ inventory_hostname }}}}", there.display());
    both_say(&world.ansible(&["-m", "copy", "-a", &copy])?.ok()?, "CHANGED");
    for node in [NODE, OTHER] {
        let copied = format!("{}-{node}.{CLUSTER}", there.display());
        assert_eq!(std::fs::read(copied)?, data, "{node}");
    }

    let failed = world.ansible(&["-m", "shell", "-a", "echo out; echo err >&2; exit 7"])?;
    assert_eq!(failed.code, 2, "{}", failed.text());
    both_say(&failed, "FAILED | rc=7 >>\nouterrnon-zero return code\n");
    assert_eq!(entries(&world.sockets()).len(), 2, "a master for each node");
    Ok(())
}

#[test]
fn ansible_works_as_it_comes() {
    ansible_works(&World::start("False", "silent").unwrap()).unwrap();
}

/// Also what people are told of being recorded does not get into what modules say.
#[test]
fn ansible_works_with_pipelining() {
    ansible_works(&World::start("True", "banner").unwrap()).unwrap();
}

#[test]
fn ansible_agrees_beforehand_where_a_role_asks() {
    let world = World::start("False", "consent").unwrap();

    let refused = world.ansible(&["-m", "ping"]).unwrap();
    // A master sends the environment it was started with.
    world.end_masters();
    world.inventory(" -o SetEnv=MOONGATE_AGREE=yes").unwrap();
    let agreed = world.ansible(&["-m", "ping"]).unwrap().ok().unwrap();

    assert_eq!(refused.text().matches("agree beforehand with ssh -o SetEnv=MOONGATE_AGREE=yes").count(), 2);
    both_say(&refused, "UNREACHABLE!");
    both_say(&agreed, "SUCCESS");
}
