package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
	targets := string(read(t, filepath.Join(dir, "prometheus", "targets.yaml")))
	for _, name := range services {
		for _, n := range []string{"-1", "-2"} {
			env := make(map[string]string)
			for line := range strings.Lines(string(read(t, filepath.Join(dir, name+n+".env")))) {
				setting, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				env[setting] = value
			}
			judge(t, "scripts/nodes "+name+n, name, env)
			// Whom Prometheus does not know is never missed.
			if !strings.Contains(targets, fmt.Sprintf("%q", env["OPS_ADDR"])) {
				t.Errorf("Prometheus is not told of %s%s at %s:\n%s", name, n, env["OPS_ADDR"], targets)
			}
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

// The balancer would start with what is shipped, and Prometheus is told of it where it answers.
func TestTheBalancerIsConfigured(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy" // which is on nobody's PATH but root's
	}
	cfg := at(t, "deploy", "haproxy", "haproxy.cfg")
	if out, err := exec.Command(program, "-c", "-f", cfg).CombinedOutput(); err != nil {
		t.Errorf("%v (scripts/setup installs it)\n%s", err, out)
	}
	if metrics := "127.0.0.1:8404"; !strings.Contains(string(read(t, cfg)), "bind "+metrics+"\n") || !strings.Contains(string(read(t, at(t, "scripts", "nodes"))), metrics) {
		t.Errorf("the balancer has its metrics elsewhere than scripts/nodes says: %s", metrics)
	}
}

// A pid that has become somebody else's is no part that runs, and is left alone.
func TestNodesKnowAStranger(t *testing.T) {
	t.Parallel()
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(sut.Binary(t, "sallyport"), filepath.Join(bin, "sallyport")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "operator.env"), nil)
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	write(t, filepath.Join(dir, "infra.pid"), fmt.Append(nil, stranger.Process.Pid))
	write(t, filepath.Join(dir, "infra.born"), []byte("another start of the machine\n1\n"))
	cmd := exec.Command(at(t, "scripts", "nodes"), "kill", "infra")
	cmd.Env = append(os.Environ(), "NODES="+dir, "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "infra: does not run") {
		t.Errorf("scripts/nodes kill infra: %v\n%s", err, out)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was ended: %v", err)
	}
}
