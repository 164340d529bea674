package e2e

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/seal/kmstest"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// keyset is a line of `sallyport keys status --json`.
type keyset struct {
	Service, Keyset, State, KMS string
	Primary                     uint32
	Old, Next                   []uint32
	Left                        *int
}

// keyStatus is what an operator sees of the keys.
func keyStatus(t *testing.T, p *sut.Product) (all []keyset, begun bool) {
	t.Helper()
	var out struct {
		Keysets []keyset
		Agree   bool
		BeganAt *time.Time `json:"began_at"`
	}
	c := p.Operate(0, "keys", "status", "--json")
	if err := json.Unmarshal([]byte(c.Stdout()), &out); err != nil || len(out.Keysets) != 8 || !out.Agree {
		t.Fatalf("keys status: %v\n%s", err, c.Output())
	}
	return out.Keysets, out.BeganAt != nil
}

// mine is the key under which totp-svc keeps seeds.
func mine(all []keyset) uint32 {
	for _, k := range all {
		if k.Service == string(contract.TOTP) && k.Keyset == string(seal.Store) {
			return k.Primary
		}
	}
	return 0
}

// crowd adds people with authenticator apps whom nobody signs in: something to re-seal.
func crowd(t *testing.T, p *sut.Product, n int) {
	t.Helper()
	db, keys := documents(t, p, contract.TOTP)
	type credential struct {
		Enrolment string `bson:"enrolment"`
		Seed      string `bson:"seed"`
		Secret    []byte `bson:"secret"`
	}
	type document struct {
		ID     string     `bson:"_id"`
		Active credential `bson:"active"`
	}
	c := store.Of[document](db, "authenticators")
	var work sync.WaitGroup
	for worker := range 8 {
		work.Go(func() {
			for i := worker; i < n; i += 8 {
				user := fmt.Sprintf("crowd-%04d", i)
				sealed, err := keys.Store.Seal([]byte("20 bytes of "+user[6:]+"...."), seal.Place{"demo", "authenticators", "secret", user, "en"})
				if err == nil {
					err = c.Insert(t.Context(), document{"demo/" + user, credential{"en", "s", sealed}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
}

// figure reads one metric of a service.
func figure(t *testing.T, p *sut.Product, name, labels string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name+"{"+labels+"}") + ` (\S+)$`).FindStringSubmatch(p.Metrics())
	if found == nil {
		return -1
	}
	f, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(f)
}

// slowly asks no more often than every quarter of a second, for [sut.Eventually].
func slowly(ask func() bool) func() bool {
	var last time.Time
	return func() bool {
		if time.Since(last) < 250*time.Millisecond {
			return false
		}
		last = time.Now()
		return ask()
	}
}

// passerby types a password all the time; a sign-in that is not let in is not counted against anybody.
type passerby struct {
	begun, faults atomic.Int64
	// down is set while the product is known not to answer.
	down atomic.Bool
}

// call begins sign-ins until ctx ends. An answer 503 counts where it is still the answer a second later.
func (v *passerby) call(ctx context.Context, p *sut.Product) {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	var failing time.Time
	for ctx.Err() == nil {
		before := v.down.Load()
		a, err := p.Try(ctx, "POST", "/v1/sign-ins", "", sut.Credentials(second))
		switch {
		case err == nil && a.Status == http.StatusCreated:
			v.begun.Add(1)
			failing = time.Time{}
		case ctx.Err() != nil || before || v.down.Load():
			failing = time.Time{}
		case err == nil && a.Status == http.StatusServiceUnavailable && (failing.IsZero() || time.Since(failing) < time.Second):
			if failing.IsZero() {
				failing = time.Now()
			}
		default:
			v.faults.Add(1)
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// B40: keys are rotated while people sign in; neither a rotation that is killed nor a product that is killed while it
// re-seals loses anything or begins again; afterwards the old keys are gone, and nobody has noticed.
func TestB40KeysAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	const people = 130 // two batches and a rest
	p := demo(t, map[string]string{"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off"})
	agentKey, _ := p.EnrolTOTP(agent)
	adminKey, _ := p.EnrolTOTP(admin)
	p.EnrolSMS(clerk, clerkPhone)
	crowd(t, p, people)
	was, _ := keyStatus(t, p)

	ctx, rest := context.WithCancel(t.Context())
	defer rest()
	var v passerby
	var load sync.WaitGroup
	load.Go(func() { v.call(ctx, p) })

	first := sut.Run(t, "sallyport", nil, "keys", "rotate", "--data="+p.Data, "--store="+p.StoreAddr())
	sut.Eventually(t, 30*time.Second, "keys are added", func() bool { return strings.Contains(first.Stdout(), "bus (all services): key") })
	first.Suspend()
	if second := p.Operate(1, "keys", "rotate"); !strings.Contains(second.Stderr(), "by somebody else") {
		t.Errorf("a second rotation at once: %s", second.Output())
	}
	first.Kill9()
	p.SignInTOTP(agent, agentKey)
	if all, begun := keyStatus(t, p); !begun || all[0].State != "waiting" {
		t.Errorf("after the rotation was killed: begun %v, %+v", begun, all[0])
	}
	if c := p.Operate(1, "keys", "retire"); !strings.Contains(c.Stderr(), "unfinished") {
		t.Errorf("retire in the middle: %s", c.Output())
	}
	db, late := documents(t, p, contract.TOTP)
	finished := sut.Run(t, "sallyport", nil, "keys", "rotate", "--data="+p.Data, "--store="+p.StoreAddr())
	p.SignInTOTP(admin, adminKey) // between the two steps

	// The product is killed while it re-seals, whether the command has ended or not.
	sut.Eventually(t, time.Minute, "it re-seals", func() bool {
		r, err := store.ReadResealing(t.Context(), db)
		return err == nil && r.Primary != int64(mine(was)) && r.After != "" && r.Left > 0
	})
	v.down.Store(true)
	p.Kill9()
	if code := finished.Exit(time.Minute); code != 0 || !strings.Contains(finished.Stdout(), "is finished now") {
		t.Fatalf("the second run: %d, %s", code, finished.Output())
	}
	later, err := clock.OpenVirtual(filepath.Join(p.Data, "clock.json"))
	if err == nil {
		_, err = later.Advance(11 * time.Minute) // old keys may go, and the lease of the one that was killed is over
	}
	if err != nil {
		t.Fatal(err)
	}
	now, unfinished := keyStatus(t, p) // with nothing running
	remaining := -1
	for i, k := range now {
		if unfinished || k.Primary == was[i].Primary || len(k.Old) != 1 || len(k.Next) != 0 {
			t.Errorf("%+v, was %+v", k, was[i])
		}
		if k.Service == string(contract.TOTP) && k.Left != nil {
			remaining = *k.Left
		}
	}
	if remaining < 1 || remaining > people {
		t.Errorf("%d values are left after the kill", remaining)
	}
	if c := p.Operate(1, "keys", "retire", "--service=totp-svc"); !strings.Contains(c.Stderr(), fmt.Sprintf("%d values are under an old key", remaining)) {
		t.Errorf("retire what is needed: %s", c.Output())
	}
	p.Resume()
	v.down.Store(false)
	p.SignInTOTP(admin, adminKey) // one of them is under the new key, the other perhaps not
	p.SignInTOTP(agent, agentKey)
	p.SignInSMS(clerk, clerkPhone)

	stores := make(map[contract.Service]*store.DB)
	for _, k := range now {
		s := contract.Service(k.Service)
		if stores[s] == nil {
			stores[s], _ = documents(t, p, s) // opened anew: the store was restarted
		}
	}
	sut.Eventually(t, 2*time.Minute, "all is re-sealed", slowly(func() bool {
		for _, k := range now {
			r, err := store.ReadResealing(t.Context(), stores[contract.Service(k.Service)])
			if k.Keyset == string(seal.Store) && (err != nil || !r.Done(k.Primary)) || k.Keyset == string(seal.Bus) && r.BusPrimary != int64(k.Primary) {
				return false
			}
		}
		return true
	}))
	if n := figure(t, p, "sallyport_reseal_values_total", `result="resealed",service="totp-svc"`); n < 1 || n > remaining {
		t.Errorf("after the kill %d values were re-sealed, and %d were left: it has begun again", n, remaining)
	}
	rest()
	load.Wait()
	if v.faults.Load() > 0 || v.begun.Load() < 20 {
		t.Errorf("%d sign-ins were begun meanwhile, %d could not be", v.begun.Load(), v.faults.Load())
	}

	if err := store.SaySeals(t.Context(), stores[contract.TOTP], "late", "elsewhere", late, later.Now()); err != nil {
		t.Fatal(err)
	}
	if c := p.Operate(1, "keys", "retire", "--service=totp-svc"); !strings.Contains(c.Stderr(), "replica late on elsewhere") {
		t.Errorf("retire while a replica seals with the old key: %s", c.Output())
	}
	if err := store.SayGone(t.Context(), stores[contract.TOTP], "late", later.Now()); err != nil {
		t.Fatal(err)
	}
	p.Operate(0, "keys", "retire")
	all, _ := keyStatus(t, p)
	for i, k := range all {
		if k.State != "current" || len(k.Old) != 0 || k.Primary != now[i].Primary {
			t.Errorf("after all: %+v", k)
		}
		under, err := stores[contract.Service(k.Service)].SealedUnder(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := under[was[i].Primary]; n > 0 {
			t.Errorf("%s has %d values under the old key", k.Service, n)
		}
	}
	recorded(t, p, map[string]int{"rotate": 2, "retire": 1})
	p.SignInTOTP(agent, agentKey)
	p.Restart()
	p.SignInTOTP(admin, adminKey)
	p.SignInTOTP(agent, agentKey)
	p.SignInSMS(clerk, clerkPhone)
	p.Stop()
	inClear(t, p, clerkPhone, agentKey, adminKey)
	p.Resume()
}

// inClear looks for numbers and seeds in every file of the document store, as they would lie there.
func inClear(t *testing.T, p *sut.Product, phone string, seeds ...string) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(filepath.Join(p.Data, "store"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked += len(raw)
		for _, seed := range seeds {
			plain, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(seed)
			if err != nil {
				return err
			}
			for how, found := range map[string]bool{
				"text": bytes.Contains(raw, []byte(seed)), "bytes": bytes.Contains(raw, plain),
				"base64": bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString(plain))),
			} {
				if found {
					t.Errorf("a seed lies in clear in %s (as %s)", path, how)
				}
			}
		}
		if bytes.Contains(raw, []byte(phone)) || bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString([]byte(phone)))) {
			t.Errorf("a number lies in clear in %s", path)
		}
		return nil
	})
	if err != nil || looked == 0 {
		t.Errorf("looked at %d bytes, %v", looked, err)
	}
}

// recorded looks for what was done to the keys in a portal's audit log.
func recorded(t *testing.T, p *sut.Product, want map[string]int) {
	t.Helper()
	got := make(map[string]int)
	for _, e := range export(t, p, "demo", "--action=keys_changed") {
		actor, _ := e["actor"].(string)
		detail, _ := e["detail"].(map[string]any)
		what, _ := detail["what"].(string)
		of, _ := detail["of"].(string)
		if !strings.HasPrefix(actor, "operator:") || !strings.Contains(of, "totp-svc") {
			t.Errorf("the audit log says %v", e)
		}
		got[what]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
}

// B40: key files that AWS KMS wraps start the product through the real SDK, rotate, and need no KMS while it runs; a
// start without KMS is refused by name.
func TestB40KeysThatKMSWraps(t *testing.T) {
	t.Parallel()
	kms := kmstest.Start(t)
	p := demo(t, kms.Env())
	key, _ := p.EnrolTOTP(agent)
	p.Operate(2, "keys", "wrap", "--kms=alias/sallyport")
	p.Operate(0, "keys", "wrap", "--kms="+kmstest.URI)
	p.Operate(0, "keys", "rotate")
	for _, s := range sut.Services {
		raw, err := os.ReadFile(filepath.Join(p.Data, "keys", s+".json"))
		if err != nil || bytes.Contains(raw, []byte("keyData")) || !bytes.Contains(raw, []byte(kmstest.URI)) {
			t.Errorf("the key file of %s is in clear: %v", s, err)
		}
	}
	recorded(t, p, map[string]int{"wrap": 1, "rotate": 1})
	all, _ := keyStatus(t, p)
	if c := p.Operate(1, "keys", "retire"); !strings.Contains(c.Stderr(), "may go after") {
		t.Errorf("retire at once: %s", c.Output())
	}
	if all[0].KMS != kmstest.URI || len(all[0].Old) != 1 {
		t.Errorf("%+v", all[0])
	}
	p.Restart()
	p.SignInTOTP(agent, key)
	kms.Close()
	p.SignInTOTP(agent, key)
	p.Stop()
	c := sut.Run(t, "sallyport", sut.Fast(map[string]string{
		"AWS_ENDPOINT_URL_KMS": kms.Env()["AWS_ENDPOINT_URL_KMS"], "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_MAX_ATTEMPTS": "1",
	}), "up", "--demo", "--data="+p.Data, "--store="+p.StoreAddr(), "--nats="+p.NATSAddr())
	if code := c.Exit(time.Minute); code == 0 || !strings.Contains(c.Output(), "AWS KMS does not answer") || !strings.Contains(c.Output(), kmstest.Key) {
		t.Errorf("a start without KMS: status %d, %s", code, c.Output())
	}
}
