package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// fullDisks fills the disk of one server: sign-ins go on with the other two, and an operator is told which server it is.
// Then that of a second one: nobody can sign in, and whoever cannot write says so. Room alone does not help: NATS takes
// JetStream back only when it is restarted.
func (c *crowd) fullDisks(t *testing.T) {
	r := c.h.ring
	one, two := r.nodes[0], r.nodes[1]
	if one.disk == "" || two.disk == "" {
		t.Skip("this machine makes no disk for a test: mount needs root")
	}
	r.awaitWhole(t, time.Minute)
	if meta := r.leader(""); meta == two {
		one, two = two, one // it leads: the harder case
	}
	began := time.Now()
	one.fill(t)
	sut.Eventually(t, time.Minute, "the server finds its disk full", one.disabled)
	found := time.Now()
	back, ok := c.well(t, found)
	if !ok {
		t.Errorf("one disk of three is full: sign-ins do not go well again within %v", backWithin)
	}
	during := summary(c.ledger.between(began, time.Now()))
	c.h.ready(t)
	sut.Eventually(t, time.Minute, "doctor names the server", func() bool {
		return strings.Contains(c.doctor(t), "the copy on "+one.name+" is not there or not up to date")
	})

	second := time.Now()
	two.fill(t)
	sut.Eventually(t, time.Minute, "the second server finds its disk full", two.disabled)
	sut.Eventually(t, backWithin, "both gateways say that they are not ready", func() bool {
		n := 0
		for name := range c.h.unready() {
			if strings.HasPrefix(name, "auth-gateway") {
				n++
			}
		}
		return n == len(c.h.gateways)
	})
	said := time.Since(second)
	pass(t, short(3*time.Second, 60*time.Second))
	unready, doctor := c.h.unready(), c.doctor(t)
	// At first a stream takes nothing, later nothing leads and JetStream itself refuses.
	if n := strings.Count(doctor, "fail: auth-gateway at "); n < len(c.h.gateways) || !strings.Contains(doctor, "is not ready: nats: ") {
		t.Errorf("doctor does not say who cannot write: %s", doctor)
	}
	one.clear(t)
	two.clear(t)
	pass(t, short(2*time.Second, 20*time.Second))
	roomAlone := !one.disabled() && !two.disabled()
	healed := time.Now()
	for _, n := range []*node{one, two} {
		n.kill()
		n.start()
	}
	again, ok := c.well(t, healed)
	if !ok || again.back > healedWithin {
		t.Errorf("the servers are back: sign-ins do not go well again within %v", healedWithin)
	}
	c.h.ready(t)
	r.awaitWhole(t, time.Minute)
	var b strings.Builder
	fmt.Fprintf(&b, "a disk is full\n")
	fmt.Fprintf(&b, "  JetStream off    %v after the disk was full\n", found.Sub(began).Round(100*time.Millisecond))
	fmt.Fprintf(&b, "  well all the same %v after that\n", back)
	fmt.Fprintf(&b, "  sign-ins         %s\n", during)
	fmt.Fprintf(&b, "a second one is full\n")
	fmt.Fprintf(&b, "  gateways unready %v after\n", said.Round(100*time.Millisecond))
	fmt.Fprintf(&b, "  sign-ins         %s\n", summary(c.ledger.between(second, healed)))
	for name, why := range unready {
		fmt.Fprintf(&b, "  %s: %s\n", name, why)
	}
	fmt.Fprintf(&b, "  doctor: %s\n", doctor)
	fmt.Fprintf(&b, "  room was enough  %v\n", roomAlone)
	fmt.Fprintf(&b, "  well again       %v after the restart\n", again)
	t.Log("\n" + b.String())
}

// disabled tells whether the server has given JetStream up.
func (n *node) disabled() bool {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + n.monitor + "/healthz?js-enabled-only=true")
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // nothing was read
	return resp.StatusCode != http.StatusOK
}

// doctor is what `sallyport doctor` says of NATS and of the services.
func (c *crowd) doctor(tb testing.TB) string {
	tb.Helper()
	env := c.h.ring.env("operator")
	maps.Copy(env, map[string]string{"MONGODB_URI": c.h.parts.Env["MONGODB_URI"]})
	var ops []string
	for _, r := range c.h.services {
		ops = append(ops, strings.TrimPrefix(r.ops, "http://"))
	}
	p := sut.Run(tb, "sallyport", env, "doctor", "--json", "--data="+c.h.parts.Data, "--ops="+strings.Join(ops, ","))
	p.Exit(time.Minute)
	var out struct {
		Findings []sut.Finding
	}
	if err := json.Unmarshal([]byte(p.Stdout()), &out); err != nil {
		tb.Fatalf("doctor: %v\n%s", err, p.Output())
	}
	var said []string
	for _, f := range out.Findings {
		if f.Check == "NATS" || strings.HasPrefix(f.Check, "service") {
			said = append(said, f.Status+": "+f.Says)
		}
	}
	return strings.Join(said, "\n    ")
}
