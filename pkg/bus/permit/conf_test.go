package permit_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"sallyport/pkg/bus/permit"
)

var update = flag.Bool("update", false, "write the golden file")

// The whole file is shown: a change of somebody's permissions is seen by who reviews it.
func TestConf(t *testing.T) {
	const golden = "testdata/nats.conf"
	got := permit.Conf()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("permissions have changed; go test ./pkg/bus/permit -update writes them down (-want +got):\n%s", diff)
	}
}

// openConf is a NATS as an operator runs it: a configuration that includes ours, and passwords in its environment, one of
// them as a hash.
func openConf(t *testing.T) *hall {
	t.Helper()
	dir := t.TempDir()
	passwords, err := permit.Generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	for u, p := range passwords {
		t.Setenv(permit.Variable(u), p.Reveal())
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(passwords[permit.Operator].Reveal()), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(permit.Variable(permit.Operator), `"`+string(hash)+`"`)
	own := filepath.Join(dir, "nats.conf")
	for path, text := range map[string]string{
		own:                                  "listen: 127.0.0.1:-1\njetstream { store_dir: \"" + dir + "\" }\ninclude \"sallyport.conf\"\n",
		filepath.Join(dir, "sallyport.conf"): permit.Conf(),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := server.ProcessConfigFile(own)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return prepared(t, s.ClientURL(), passwords)
}
