package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// finds fails the test unless a check says something of this status with these words, and what to do about it.
func finds(t *testing.T, all []sut.Finding, check, status string, words ...string) {
	t.Helper()
	for _, f := range all {
		said := true
		for _, w := range words {
			said = said && strings.Contains(f.Says, w)
		}
		if f.Check == check && f.Status == status && said {
			if f.Remedy == "" && status != "ok" {
				t.Errorf("%s: no remedy for %q", check, f.Says)
			}
			return
		}
	}
	t.Errorf("no finding %s: %s with %q among\n%+v", check, status, words, all)
}

// TestB40DoctorOfWhatWorks: every check of a running installation, demo or split, and no failure.
func TestB40DoctorOfWhatWorks(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	found := s.Doctor(0, nil)
	for _, f := range found {
		if f.Status == "fail" {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{"settings", "keys", "documents", "clock, documents", "portals", "audit log", "NATS", "clock, NATS", "dead letters", "SNS", "services", "disk"} {
		finds(t, found, check, "ok")
	}
	// Who is ready and sends nothing.
	s.Faults("credentials", 0)
	begun := s.BeginSignIn(clerk)
	sut.Expect(t, s.Do("POST", begun.Path("/enrollment"), begun.Token, map[string]string{"factor": "sms", "phone": clerkPhone}), 201, "")
	sut.Eventually(t, 30*time.Second, "nothing is sent", func() bool {
		return strings.Contains(s.Metrics("sms-dispatcher"), "sallyport_sms_queue_paused{service=\"sms-dispatcher\"} 1")
	})
	finds(t, s.Doctor(1, nil), "services", "fail", strings.TrimPrefix(s.OpsURL("sms-dispatcher"), "http://"), "sends no text messages")
	// One service down, and its own words for what it misses.
	s.Service["policy-svc"].Kill9()
	finds(t, s.Doctor(1, nil), "services", "fail", strings.TrimPrefix(s.OpsURL("policy-svc"), "http://"))
}

// TestB40DoctorOfWhatIsDown: with everything stopped it names what is down, each by its address, within seconds.
func TestB40DoctorOfWhatIsDown(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	finds(t, p.Doctor(0, nil), "services", "ok", strings.TrimPrefix(p.Ops, "http://"))
	p.Stop()
	begun := time.Now()
	found := p.Doctor(1, nil)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	finds(t, found, "keys", "ok")
	finds(t, found, "documents", "fail", p.StoreAddr())
	finds(t, found, "NATS", "fail", p.NATSAddr())
	finds(t, found, "SNS", "fail", p.SandboxURL)
	finds(t, found, "services", "fail", strings.TrimPrefix(p.Ops, "http://"))

	// Key files: one that all may read, one of another service, one that is none, one that is gone.
	key := func(name string) string { return filepath.Join(p.Data, "keys", name+".json") }
	other, err := os.ReadFile(key("policy-svc"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Chmod(key("totp-svc"), 0o644),
		os.WriteFile(key("sms-dispatcher"), other, 0o600),
		os.WriteFile(key("auth-gateway"), []byte("no key"), 0o600),
		os.Remove(key("policy-svc")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found = p.Doctor(1, nil)
	finds(t, found, "keys", "fail", "totp-svc", "0644")
	finds(t, found, "keys", "fail", "belongs to policy-svc")
	finds(t, found, "keys", "fail", "auth-gateway", "not a key file")
	finds(t, found, "keys", "fail", "policy-svc", "missing")
}

// TestB40DoctorOfWrongSettings: as each service would name them; what hangs on them is not asked.
func TestB40DoctorOfWrongSettings(t *testing.T) {
	t.Parallel()
	nobody := sut.FreeAddrs(t, 3)
	p := sut.Run(t, "sallyport", map[string]string{
		"PUBLIC_URL": "http://portal.example.com", "SMS_COUNTRIES": "US,ATLANTIS", "NATS_REPLICAS": "2",
	}, "doctor", "--data=/nowhere/at/all", "--nats="+nobody[0], "--store="+nobody[1], "--ops="+nobody[2])
	if status := p.Exit(20 * time.Second); status != 1 {
		t.Errorf("status %d", status)
	}
	for _, said := range []string{"PUBLIC_URL: must be https", "SMS_COUNTRIES: not a region: ATLANTIS", "NATS_REPLICAS: must be 1, 3 or 5", "/nowhere/at/all", nobody[1], nobody[2]} {
		if !strings.Contains(p.Stdout(), said) {
			t.Errorf("it does not say %q:\n%s", said, p.Output())
		}
	}
	if _, err := os.Stat("/nowhere"); err == nil {
		t.Error("it made a data directory")
	}
}
