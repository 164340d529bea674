package deploy

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// shell is as much of mongosh as replica-set.js needs: it notes what it is asked for. There is no MongoDB to be had here.
const shell = `
const said = [];
let there = THERE, refusals = REFUSALS, waited = 0;
const began = Date.now();
Date.now = () => began + waited;
globalThis.sleep = (ms) => { waited += ms; said.push("sleep"); };
globalThis.require = require;
globalThis.print = () => {};
globalThis.connect = (uri) => {
  said.push("connect " + uri);
  if (refusals-- > 0) { waited += 5000; throw new Error("connect ECONNREFUSED"); }
  return {
    adminCommand: (c) => {
      said.push(JSON.stringify(c));
      if (c.replSetGetStatus && !there) throw Object.assign(new Error("no replset config"), { codeName: "NotYetInitialized" });
      if (c.replSetInitiate) { if (there) throw new Error("twice"); there = true; }
    },
    getSiblingDB: () => ({ getUser: () => null, createUser: (u) => said.push("user " + u.user), updateUser: () => {} }),
  };
};
const run = (file) => require("vm").runInThisContext(require("fs").readFileSync(file, "utf8"));
globalThis.load = run;
process.on("exit", () => process.stdout.write(JSON.stringify(said)));
run("SCRIPT");
`

// The replica set is made once, of the members that Compose starts, and then the users; all of it under TLS.
func TestReplicaSetScript(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command(sut.Binary(t, "sallyport"), "provision", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	home := filepath.Join(dir, "mongodb")
	script := filepath.Join(dir, "replica-set.js")
	write(t, script, []byte(strings.Replace(string(read(t, at(t, "deploy", "mongo", "replica-set.js"))), `home = "/run/sallyport"`, `home = "`+home+`"`, 1)))
	hosts := environment(composed(t).Services["mongodb-prepare"])["MONGODB_HOSTS"]
	play := func(there, refusals string) ([]byte, error) {
		file := filepath.Join(dir, "run.js")
		write(t, file, []byte(strings.NewReplacer("THERE", there, "REFUSALS", refusals, "SCRIPT", script).Replace(shell)))
		cmd := exec.Command("node", file)
		cmd.Env = append(cmd.Environ(), "MONGODB_HOSTS="+hosts)
		return cmd.Output()
	}
	// The first member may refuse for some seconds: its image starts it twice.
	if out, err := play("false", "5"); err != nil || strings.Count(string(out), `"sleep"`) != 5 || !strings.Contains(string(out), "replSetInitiate") {
		t.Errorf("refused five times: %v\n%s", err, out)
	}
	if out, err := play("false", "100"); err == nil || strings.Count(string(out), `"sleep"`) < 8 || strings.Contains(string(out), "replSetInitiate") {
		t.Errorf("refused for good: %v\n%s", err, out)
	}
	for _, there := range []string{"false", "true"} {
		out, err := play(there, "0")
		var said []string
		if err != nil || json.Unmarshal(out, &said) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		all := strings.Join(said, "\n")
		members := `{"replSetInitiate":{"_id":"sallyport","members":[{"_id":0,"host":"mongodb-1:27017"},{"_id":1,"host":"mongodb-2:27017"},{"_id":2,"host":"mongodb-3:27017"}]}}`
		if strings.Contains(all, members) != (there == "false") {
			t.Errorf("there already %s: %s", there, all)
		}
		for _, s := range append([]string{"operator"}, services...) {
			if !strings.Contains(all, "\nuser sallyport-"+s) {
				t.Errorf("%s does not become a user", s)
			}
		}
		for _, s := range said {
			if strings.HasPrefix(s, "connect ") && (!strings.Contains(s, "tls=true") || !strings.Contains(s, "ca.pem")) {
				t.Errorf("without TLS: %s", s)
			}
		}
		if !strings.Contains(said[len(said)-6], "ping") {
			t.Errorf("users are made before somebody is elected: %s", all)
		}
	}
}
