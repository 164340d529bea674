package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// servers are how many there are: two are a quorum.
const servers = 3

// ring is the cluster of NATS servers.
type ring struct {
	tb      testing.TB
	program string // nats-server
	dir     string // of `sallyport provision`
	nodes   [servers]*node
}

// node is one server: its place, and the process that runs there.
type node struct {
	ring                     *ring
	name, conf, store        string
	client, monitor, cluster string // addresses
	disk                     string // a small one of its own; "" where none could be made
	process                  *sut.Process
	down                     bool // killed, and not started again
}

// newRing makes keys, certificates and configurations, starts the servers and has the streams made.
func newRing(tb testing.TB) *ring {
	tb.Helper()
	dir := tb.TempDir()
	r := &ring{tb: tb, program: filepath.Join(dir, "nats-server"), dir: filepath.Join(dir, "provision")}
	build := exec.Command("go", "build", "-trimpath", "-o", r.program, "github.com/nats-io/nats-server/v2")
	build.Dir, build.Env = sut.Root(tb), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build nats-server: %v\n%s", err, out)
	}
	operate(tb, nil, "provision", "--dir="+r.dir, "--nats-hosts=127.0.0.1")
	addrs := sut.FreeAddrs(tb, 3*servers)
	for i := range r.nodes {
		home := filepath.Join(dir, fmt.Sprintf("nats-%d", i+1))
		r.nodes[i] = &node{
			ring: r, name: fmt.Sprintf("nats-%d", i+1), conf: filepath.Join(home, "nats.conf"), store: filepath.Join(home, "data"),
			client: addrs[3*i], monitor: addrs[3*i+1], cluster: addrs[3*i+2],
		}
		if err := os.MkdirAll(r.nodes[i].store, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	r.nodes[0].mount()
	r.nodes[1].mount()
	for _, n := range r.nodes {
		n.configure()
		n.start()
	}
	env := r.env("keeper")
	operate(tb, env, "nats-prepare")
	return r
}

// operate runs a command of the operator.
func operate(tb testing.TB, env map[string]string, args ...string) string {
	tb.Helper()
	c := sut.Run(tb, "sallyport", env, args...)
	if status := c.Exit(2 * time.Minute); status != 0 {
		tb.Fatalf("sallyport %s: status %d\n%s", args[0], status, c.Output())
	}
	return c.Stdout()
}

// configure writes the shipped configuration with the places and addresses of this node in it.
func (n *node) configure() {
	n.ring.tb.Helper()
	raw, err := os.ReadFile(filepath.Join(sut.Root(n.ring.tb), "deploy", "nats", "nats.conf"))
	if err != nil {
		n.ring.tb.Fatal(err)
	}
	conf := string(raw)
	// What is included counts from the file that includes it.
	own, err := filepath.Rel(filepath.Dir(n.conf), filepath.Join(n.ring.dir, "nats"))
	if err != nil {
		n.ring.tb.Fatal(err)
	}
	var routes []string
	for _, other := range n.ring.nodes {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+other.cluster))
	}
	for _, change := range [][2]string{
		{"../../run/sallyport/", own + "/"},
		{"/run/sallyport/", filepath.Join(n.ring.dir, "nats") + "/"},
		{"0.0.0.0:4222", n.client},
		{"127.0.0.1:8222", n.monitor},
		{"0.0.0.0:6222", n.cluster},
		{`"/data"`, fmt.Sprintf("%q", n.store)},
		{`"nats://nats-1:6222", "nats://nats-2:6222", "nats://nats-3:6222"`, strings.Join(routes, ", ")},
	} {
		if !strings.Contains(conf, change[0]) {
			n.ring.tb.Fatalf("deploy/nats/nats.conf has no %s", change[0])
		}
		conf = strings.ReplaceAll(conf, change[0], change[1])
	}
	if err := os.WriteFile(n.conf, []byte(conf), 0o600); err != nil {
		n.ring.tb.Fatal(err)
	}
}

// diskSize is enough for what a test writes, and soon full.
const diskSize = 256 << 20

// mount gives the node a disk of its own to keep its streams on, where this machine lets the test make one.
func (n *node) mount() {
	disk := filepath.Join(filepath.Dir(n.conf), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		n.ring.tb.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", diskSize), "tmpfs", disk).CombinedOutput(); err != nil {
		n.ring.tb.Logf("no disk of its own for %s: %v: %s", n.name, err, out)
		return
	}
	n.ring.tb.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			n.ring.tb.Errorf("umount: %v: %s", err, out)
		}
	})
	n.disk, n.store = disk, filepath.Join(disk, "data")
}

func (n *node) filler() string { return filepath.Join(n.disk, "filler") }

// fill leaves no room on the node's disk.
func (n *node) fill(tb testing.TB) {
	tb.Helper()
	f, err := os.Create(n.filler())
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it holds nothing
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// clear makes room again.
func (n *node) clear(tb testing.TB) {
	tb.Helper()
	if err := os.Remove(n.filler()); err != nil {
		tb.Error(err)
	}
}

// start runs the server, for the first time or again.
func (n *node) start() {
	n.ring.tb.Helper()
	n.down = false
	n.process = sut.RunToolWith(n.ring.tb, n.ring.program, map[string]string{"NATS_NAME": n.name}, "--config", n.conf)
}

// kill ends the server as a crash does.
func (n *node) kill() {
	n.process.Kill9()
	n.down = true
}

// urls are those of all servers, as a service is told of them.
func (r *ring) urls() string {
	var out []string
	for _, n := range r.nodes {
		out = append(out, "tls://"+n.client)
	}
	return strings.Join(out, ",")
}

// env is how a user of NATS finds it and proves who it is.
func (r *ring) env(user string) map[string]string {
	return map[string]string{
		"NATS_URL": r.urls(), "NATS_CA_FILE": filepath.Join(r.dir, user, "ca.pem"), "NATS_USER": user,
		"NATS_PASSWORD_FILE": filepath.Join(r.dir, user, "nats-"+user+".password"), "NATS_REPLICAS": fmt.Sprint(servers),
	}
}

// view is what one server says of JetStream (/jsz).
type view struct {
	Disabled bool `json:"disabled"`
	Meta     struct {
		Leader string `json:"leader"`
		Size   int    `json:"cluster_size"`
	} `json:"meta_cluster"`
	Accounts []struct {
		Streams []struct {
			Name    string `json:"name"`
			Cluster struct {
				Leader   string `json:"leader"`
				Replicas []struct {
					Name    string `json:"name"`
					Current bool   `json:"current"`
					Offline bool   `json:"offline"`
				} `json:"replicas"`
			} `json:"cluster"`
			State struct {
				Messages uint64 `json:"messages"`
			} `json:"state"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// look asks a server what it sees.
func (n *node) look() (view, error) {
	var v view
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + n.monitor + "/jsz?streams=true")
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// leader is the server that leads a stream, "" for the meta group; nil where nobody does, or nobody knows.
func (r *ring) leader(stream string) *node {
	for _, asked := range r.nodes {
		v, err := asked.look()
		if err != nil {
			continue
		}
		name := ""
		if stream == "" {
			name = v.Meta.Leader
		}
		for _, a := range v.Accounts {
			for _, s := range a.Streams {
				if s.Name == stream {
					name = s.Cluster.Leader
				}
			}
		}
		for _, n := range r.nodes {
			if n.name == name && n.process.Running() {
				return n
			}
		}
	}
	return nil
}

// whole tells whether all servers are there and every stream has all its copies up to date.
func (r *ring) whole() error {
	meta := r.leader("")
	if meta == nil {
		return fmt.Errorf("nobody leads the cluster")
	}
	led := 0
	for _, n := range r.nodes {
		v, err := n.look()
		if err != nil {
			return err
		}
		for _, a := range v.Accounts {
			for _, s := range a.Streams {
				if s.Cluster.Leader != n.name {
					continue
				}
				led++
				if len(s.Cluster.Replicas) != servers-1 {
					return fmt.Errorf("%s has %d followers", s.Name, len(s.Cluster.Replicas))
				}
				for _, c := range s.Cluster.Replicas {
					if c.Offline || !c.Current {
						return fmt.Errorf("the copy of %s on %s is not up to date", s.Name, c.Name)
					}
				}
			}
		}
	}
	if led != kept {
		return fmt.Errorf("%d streams and buckets have a leader, want %d", led, kept)
	}
	return nil
}

// awaitWhole waits for it.
func (r *ring) awaitWhole(tb testing.TB, within time.Duration) {
	tb.Helper()
	var err error
	defer func() {
		if err != nil {
			tb.Log(err)
		}
	}()
	sut.Eventually(tb, within, "the cluster is whole", func() bool { err = r.whole(); return err == nil })
}
