package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// What scripts/nodes configures are settings that the services know, and nothing that they need is missing.
func TestNodesAreConfigured(t *testing.T) {
	t.Parallel()
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(sut.Binary(t, "sallyport"), filepath.Join(bin, "sallyport")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(at(t, "scripts", "nodes"), "configure")
	cmd.Env = append(os.Environ(), "NODES="+dir, "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/nodes configure: %v\n%s", err, out)
	}
	for _, name := range services {
		for _, n := range []string{"-1", "-2"} {
			env := make(map[string]string)
			for line := range strings.Lines(string(read(t, filepath.Join(dir, name+n+".env")))) {
				setting, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				env[setting] = value
			}
			judge(t, "scripts/nodes "+name+n, name, env)
		}
	}
	for _, n := range []string{"1", "2", "3"} {
		conf := string(read(t, filepath.Join(dir, "nats-"+n+".conf")))
		for _, left := range []string{"/run/sallyport", "0.0.0.0", "$NATS_NAME", "nats://nats-"} {
			if strings.Contains(conf, left) {
				t.Errorf("nats-%s.conf still says %s:\n%s", n, left, conf)
			}
		}
	}
}
