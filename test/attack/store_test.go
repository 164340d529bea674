package attack

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// rights are those of one user, as MongoDB takes them.
type rights struct {
	User  string
	Pwd   string
	Roles []struct{ Role, DB string }
}

// TestRule19EachServiceHasItsOwnDatabaseAlone runs the shipped script against something that only notes what it is asked
// for: one user per service, each with its own database and nothing more, and the operator's.
func TestRule19EachServiceHasItsOwnDatabaseAlone(t *testing.T) {
	t.Parallel()
	c := sut.Run(t, "sallyport", nil, "mongo-init")
	if status := c.Exit(time.Minute); status != 0 {
		t.Fatalf("status %d: %s", status, c.Output())
	}
	shipped := filepath.Join(sut.Root(t), "deploy", "mongo", "users.js")
	if raw, err := os.ReadFile(shipped); err != nil || string(raw) != c.Stdout() {
		t.Errorf("%s is not what is printed (%v); bin/sallyport mongo-init > %s", shipped, err, shipped)
	}
	dir := t.TempDir()
	passwords := make(map[string]string)
	for _, name := range append([]string{"operator"}, sut.Services...) {
		user := "sallyport-" + name
		passwords[user] = "a long password of " + user
		if err := os.WriteFile(filepath.Join(dir, user+".password"), []byte(passwords[user]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, again := range []bool{false, true} {
		made, refused := mongosh(t, c.Stdout(), dir, again)
		if refused != "" || len(made) != len(passwords) {
			t.Fatalf("again %t: %d users are made: %s", again, len(made), refused)
		}
		for _, name := range sut.Services {
			user, own := "sallyport-"+name, "sallyport_"+strings.ReplaceAll(name, "-", "_")
			if got := made[user]; len(got.Roles) != 1 || got.Roles[0].Role != "readWrite" || got.Roles[0].DB != own || got.Pwd != passwords[user] {
				t.Errorf("again %t: %s may do %+v", again, user, got.Roles)
			}
		}
		of := make(map[string]bool)
		for _, r := range made["sallyport-operator"].Roles {
			of[r.DB] = r.Role == "readWrite"
		}
		if len(of) != len(sut.Services) {
			t.Errorf("again %t: the operator may do %+v", again, made["sallyport-operator"].Roles)
		}
		for name, ok := range of {
			if !ok || !strings.HasPrefix(name, "sallyport_") {
				t.Errorf("again %t: the operator has %s", again, name)
			}
		}
	}
	// Nobody is made where one password is missing or no password.
	for what, text := range map[string]string{"short": "hunter2\n", "empty": "", "missing": "-"} {
		file := filepath.Join(dir, "sallyport-totp-svc.password")
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if text != "-" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if made, refused := mongosh(t, c.Stdout(), dir, false); len(made) > 0 || !strings.Contains(refused, "sallyport-totp-svc.password") || strings.Contains(refused, "hunter2") {
			t.Errorf("with a password that is %s: %d users are made: %s", what, len(made), refused)
		}
	}
}

// mongosh runs a script of its in node, with a db that notes what it is asked for; known says whether the users are there
// already. It returns the users that were made or changed, and what the script died of.
func mongosh(t *testing.T, script, passwords string, known bool) (made map[string]rights, refused string) {
	t.Helper()
	const before = `
const asked = [];
const print = () => {};
const db = { getSiblingDB: (name) => ({
  getUser: (user) => KNOWN ? { user } : null,
  createUser: (u) => { if (KNOWN || name !== "admin") throw new Error("created twice, or elsewhere"); asked.push(u); },
  updateUser: (user, u) => { if (!KNOWN || name !== "admin") throw new Error("not there"); asked.push({ user, ...u }); },
}) };
process.on("exit", () => process.stdout.write(JSON.stringify(asked)));
(function () {
`
	file := filepath.Join(t.TempDir(), "users.js")
	text := strings.ReplaceAll(before, "KNOWN", fmt.Sprint(known)) + script + "\n})();\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", file)
	cmd.Env = append(os.Environ(), "SALLYPORT_PASSWORDS="+passwords)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		refused = fmt.Sprint(err, ": ", errs.String())
	}
	var all []rights
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v: %q, %s", err, out, refused)
	}
	made = make(map[string]rights)
	for _, r := range all {
		made[r.User] = r
	}
	return made, refused
}

// authenticator is as much of totp-svc's document as an attacker needs who has all databases.
type authenticator struct {
	ID     string `bson:"_id"`
	Active struct {
		Enrolment string `bson:"enrolment"`
		Secret    []byte `bson:"secret"`
	} `bson:"active"`
}

// TestRule19OnlyTotpOpensSeeds: with every database and every key file but totp-svc's, a seed stays shut, and with
// totp-svc's it opens at its own place only.
func TestRule19OnlyTotpOpensSeeds(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	for _, email := range []string{"agent@demo.test", "admin@demo.test"} {
		p.EnrolTOTP(email)
	}
	kept := make(map[string][]authenticator)
	for _, name := range sut.Services {
		db, err := store.Connect(t.Context(), store.Options{
			URI: p.StoreURI() + "/?directConnection=true", Database: store.Database(contract.Service(name)), Name: "attack", Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close(context.Background()) })
		if kept[name], err = store.Of[authenticator](db, "authenticators").Query(t.Context(), nil, nil, 10); err != nil {
			t.Fatal(err)
		}
		if n := len(kept[name]); (name == string(contract.TOTP)) != (n == 2) || n != 0 && n != 2 {
			t.Fatalf("%s keeps %d authenticators", name, n)
		}
	}
	opened := 0
	for _, name := range sut.Services {
		keys, err := seal.Load(filepath.Join(p.Data, "keys", name+".json"), contract.Service(name))
		if err != nil {
			t.Fatal(err)
		}
		for n, a := range kept[string(contract.TOTP)] {
			portal, user, _ := strings.Cut(a.ID, "/")
			_, other, _ := strings.Cut(kept[string(contract.TOTP)][1-n].ID, "/")
			own := seal.Place{portal, "authenticators", "secret", user, a.Active.Enrolment}
			for what, box := range map[string]*seal.Box{"own": keys.Store, "bus": keys.Bus} {
				for _, place := range []seal.Place{own, {portal, "authenticators", "secret", other, a.Active.Enrolment}, {"other", "authenticators", "secret", user, a.Active.Enrolment}, {}} {
					_, err := box.Open(a.Active.Secret, place)
					if may := name == string(contract.TOTP) && what == "own" && len(place) > 0 && place[0] == portal && place[3] == user; (err == nil) != may {
						t.Errorf("the %s keys of %s open a seed at %q: %t", what, name, place, err == nil)
					} else if may {
						opened++
					}
				}
			}
		}
	}
	if opened != 2 {
		t.Errorf("totp-svc's own keys open %d seeds of two: this proves nothing about the others", opened)
	}
}

// TestRule19EveryWriteWaitsForAMajority: on the wire, each write of a whole life asks for it, whatever the address in
// MONGODB_URI asks for.
func TestRule19EveryWriteWaitsForAMajority(t *testing.T) {
	t.Parallel()
	docs, err := embedded.StartStore(embedded.StoreOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = docs.Close(ctx) // with the test
	})
	host, options, _ := strings.Cut(strings.TrimPrefix(docs.URI(), "mongodb://"), "/")
	wire := listenIn(t, host)
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"MONGODB_URI": "mongodb://" + wire.addr() + "/" + options + "&w=1&journal=false&readConcernLevel=local"})})
	p.EnrolTOTP("agent@demo.test")
	p.EnrolSMS("clerk@acme.test", "+17015554417")
	p.SignInSMS("clerk@acme.test", "+17015554417")
	p.Stop()
	writes := make(map[string]int)
	for _, f := range wire.frames() {
		for _, command := range []string{"insert", "update", "delete", "findAndModify", "createIndexes"} {
			// The command is the first field of the document, which follows the header, the flags and the kind of section.
			if len(f) < 27 || !strings.HasPrefix(f[25:], "\x02"+command+"\x00") {
				continue
			}
			writes[command]++
			if !strings.Contains(f, "\x03writeConcern\x00") || !strings.Contains(f, "\x02w\x00\x09\x00\x00\x00majority\x00") {
				t.Errorf("a write does not wait for a majority: %q", f)
			}
		}
	}
	for _, command := range []string{"insert", "update", "findAndModify"} {
		if writes[command] == 0 {
			t.Errorf("no %s was seen: %v", command, writes)
		}
	}
}

// frames are the MongoDB messages that passed.
func (t *tap) frames() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, w := range t.ways {
		for rest := w.String(); len(rest) >= 16; {
			n := int(binary.LittleEndian.Uint32([]byte(rest)))
			if n < 16 || n > len(rest) {
				break
			}
			out = append(out, rest[:n])
			rest = rest[n:]
		}
	}
	return out
}
