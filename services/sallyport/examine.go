package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/services/sms-dispatcher/sms"
)

// What is too slow, too far off or too little.
const (
	slowNATS   = 100 * time.Millisecond
	slowWrite  = 250 * time.Millisecond
	skewWarn   = 2 * time.Second
	skewFail   = 15 * time.Second // half a time step
	diskWarn   = 1 << 30
	diskFail   = 100 << 20
	dialWithin = 3 * time.Second
)

// examiner looks at an installation with the settings that its services would have.
type examiner struct {
	doctorCommand
	vault *vault
	// vars are the settings that the services share.
	vars map[string]string
	// apart is true where neither NATS nor the documents are embedded: then a text goes to AWS unless told otherwise.
	apart, embeddedNATS, embeddedStore, embeddedSNS bool
}

// examiner fills in what `sallyport up` would, where the environment says nothing.
func (c *doctorCommand) examiner(environ map[string]string) *examiner {
	e := &examiner{doctorCommand: *c, vars: maps.Clone(environ)}
	says := func(name string) bool { return e.vars[name] != "" || e.vars[name+"_FILE"] != "" }
	e.embeddedNATS, e.embeddedStore = !says("NATS_URL"), !says("MONGODB_URI")
	e.apart = !e.embeddedNATS && !e.embeddedStore
	e.embeddedSNS = !says("AWS_ENDPOINT_URL_SNS") && !e.apart
	if e.embeddedNATS {
		e.vars["NATS_URL"] = "nats://" + c.NATS
		withoutTLS(e.vars)
	}
	if e.embeddedStore {
		e.vars["MONGODB_URI"] = embeddedURI(c.Store)
	}
	if e.embeddedSNS {
		e.vars["AWS_ENDPOINT_URL_SNS"] = "http://" + c.Sandbox
		e.vars["AWS_REGION"], e.vars["AWS_ACCESS_KEY_ID"], e.vars["AWS_SECRET_ACCESS_KEY"] = "us-east-1", "sandbox", "sandbox"
	}
	if !e.apart {
		for _, own := range ownSettings {
			delete(e.vars, own)
		}
		e.vars["LISTEN_ADDR"] = c.Listen
		if !says("PUBLIC_URL") {
			e.vars["PUBLIC_URL"] = "http://" + c.Listen
		}
	}
	e.vault, _ = c.lookAt(environ) // what is wrong with the settings is said by the check of the settings
	return e
}

// of are the settings of one service.
func (e *examiner) of(s contract.Service) map[string]string {
	vars := maps.Clone(e.vars)
	delete(vars, "KEYSET_FILE_FILE")
	vars["KEYSET_FILE"] = e.vault.keyFile(s)
	return vars
}

// settings loads those of each service.
func (e *examiner) settings(context.Context) []findings {
	f := findings{check: "settings"}
	var problems []string
	by := make(map[string][]string)
	for _, s := range starters {
		var settings *config.Error
		if !errors.As(s.check(e.of(s.name)), &settings) {
			continue
		}
		for _, p := range settings.Problems {
			if by[p] == nil {
				problems = append(problems, p)
			}
			by[p] = append(by[p], string(s.name))
		}
	}
	for _, p := range problems {
		f.fail("Set it right in the environment of "+strings.Join(by[p], ", ")+"; --help of each lists its settings.", "%s.", strings.TrimSuffix(p, "."))
	}
	if f.clean() {
		f.ok("The settings in this shell's environment are usable for the four services.")
	}
	if s, err := config.Load[sms.Settings](e.of(contract.SMSDispatcher)); err == nil && len(s.Countries) == 0 {
		f.warn("Set SMS_COUNTRIES, such as US,CA,GB, if contacts are to enrol.", "SMS_COUNTRIES is empty in this shell's environment: services that are started with it accept no telephone number. Only `sallyport up --demo` lists countries by itself.")
	}
	if s, err := config.Load[sms.Settings](e.of(contract.SMSDispatcher)); err == nil && s.DailyBudget == 0 && len(s.Countries) > 0 && !e.embeddedSNS {
		f.warn("Set SMS_DAILY_BUDGET to some three times the texts of a busy day.", "SMS_DAILY_BUDGET is not set in this shell's environment: nothing bounds what text messages cost in a day.")
	}
	return []findings{f}
}

// keyFiles loads those of each service.
func (e *examiner) keyFiles(context.Context) []findings {
	f := findings{check: "keys"}
	if _, err := os.Stat(e.Data); err != nil && !e.apart {
		f.fail("Give --data the directory that sallyport up was given; `sallyport portal create` begins a new one.", "The data directory %s cannot be used: %v.", e.Data, errors.Unwrap(err))
		return []findings{f}
	}
	shared := make(map[uint32][]string)
	for _, s := range services() {
		keys, err := seal.Load(e.vault.keyFile(s), s)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.fail("Restore it from a backup: no new key opens what that service has sealed.", "The key file of %s is missing: %s.", s, e.vault.keyFile(s))
		case errors.Is(err, fs.ErrPermission):
			f.fail("Run this as the user whose services these are.", "The key file of %s cannot be read: %v.", s, err)
		case err != nil && strings.Contains(err.Error(), "0600"):
			f.fail(fmt.Sprintf("chmod 600 %s; and ask who has read it.", e.vault.keyFile(s)), "%s: %v.", s, err)
		case err != nil:
			f.fail("Restore it from a backup.", "%s: %v.", s, err)
		default:
			shared[keys.Bus.PrimaryKeyID()] = append(shared[keys.Bus.PrimaryKeyID()], string(s))
		}
	}
	if len(shared) > 1 {
		var groups []string
		for _, group := range shared {
			groups = append(groups, strings.Join(group, " and "))
		}
		slices.Sort(groups)
		f.fail("Restore the key files of one backup: what one service seals for another must open there.", "The services' \"bus\" keysets differ: %s.", strings.Join(groups, " against "))
	}
	switch begun, err := seal.Begun(e.vault.Keys); {
	case err != nil:
		f.fail("Remove it, and look at `sallyport keys status`.", "%v.", err)
	case len(begun.Groups) > 0:
		f.warn("Run `sallyport keys rotate`: it finishes what was begun.", "A rotation of keys that was begun at %s is unfinished.", begun.BeganAt.Format(time.RFC3339))
	}
	if f.clean() {
		f.ok("Each service has its key file, readable by its owner alone.")
	}
	return []findings{f}
}

// texts looks whether SNS can be reached, and whether there is something to sign with.
func (e *examiner) texts(ctx context.Context) []findings {
	f := findings{check: "SNS"}
	s, err := config.Load[sms.Settings](e.of(contract.SMSDispatcher))
	if err != nil {
		f.fail("Set right what the check of the settings names.", "SNS was not looked at: the settings of sms-dispatcher are not usable.")
		return []findings{f}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*dialWithin)
	defer cancel()
	endpoint, err := s.Endpoint(ctx)
	if err != nil {
		f.fail("Set AWS_REGION to the region from which texts are sent.", "%v.", err)
		return []findings{f}
	}
	if err := s.Credentials(ctx); err != nil {
		f.fail("Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role that may sns:Publish.", "There are no AWS credentials: %v.", err)
	}
	if err := reach(ctx, endpoint); err != nil {
		remedy := "Let this machine reach it (HTTPS, port 443), or name another one in AWS_ENDPOINT_URL_SNS."
		if e.embeddedSNS {
			remedy = "Start `sallyport up` or `sallyport infra`, give --sandbox the address that it was given, or set AWS_ENDPOINT_URL_SNS."
		}
		f.fail(remedy, "The SNS endpoint %s cannot be reached: %v.", endpoint, err)
	}
	switch {
	case !f.clean():
	case e.embeddedSNS:
		f.warn("Set AWS_ENDPOINT_URL_SNS, AWS_REGION and credentials when people are to receive them.", "Texts go to the sandbox at %s and reach no telephone.", endpoint)
	default:
		f.ok("%s can be reached, and there are credentials to sign with.", endpoint)
	}
	return []findings{f}
}

// reach connects to a URL's host, with TLS where it says https.
func reach(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return errors.New("it is not a URL")
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	port := u.Port()
	dial := (&net.Dialer{}).DialContext
	if u.Scheme == "https" {
		dial = (&tls.Dialer{}).DialContext
		port = first(port, "443")
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), first(port, "80")))
	if err != nil {
		return err
	}
	return conn.Close()
}

// first is the first that says something.
func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// services asks each ops listener whether its services are ready.
func (e *examiner) services(ctx context.Context) []findings {
	f := findings{check: "services"}
	client := http.Client{Timeout: dialWithin}
	for _, addr := range e.Ops {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
		if err != nil {
			f.fail("Give --ops as host:port.", "--ops %q is no address.", addr)
			continue
		}
		resp, err := client.Do(req)
		if err != nil {
			f.fail("Start it, or give --ops the addresses of the services that run.", "No service answers at %s: %v.", addr, plainNet(err))
			continue
		}
		var v struct {
			Ready    bool
			Problems map[string]map[string]string
		}
		err = json.NewDecoder(resp.Body).Decode(&v)
		_ = resp.Body.Close() // read above
		switch {
		case err != nil:
			f.fail("Give --ops the ops listener of a service.", "%s answers, but not as an ops listener.", addr)
		case v.Ready:
			if !e.paused(ctx, &f, addr) {
				f.ok("What runs at %s is ready.", addr)
			}
		case len(v.Problems) == 0:
			f.fail("Wait a moment, then look at its log.", "What runs at %s has not started yet, or is stopping.", addr)
		}
		for _, name := range slices.Sorted(maps.Keys(v.Problems)) {
			for _, part := range slices.Sorted(maps.Keys(v.Problems[name])) {
				f.fail("See \"What readiness says\" in docs/runbook.md; it recovers by itself when that answers.", "%s at %s is not ready: %s: %s.", name, addr, part, v.Problems[name][part])
			}
		}
	}
	return []findings{f}
}

// paused tells whether what runs there is ready and yet sends no text messages, and says why that may be.
func (e *examiner) paused(ctx context.Context, f *findings, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false // it was ready a moment ago; the next look will tell
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || !queuePaused.Match(text) {
		return false
	}
	f.fail("Its log says which (\"text message not handed over\" with class and code, \"daily budget is spent\"). A refusal is mostly about credentials without the right to sns:Publish, a clock that is off, or the monthly spend limit; it tries again by itself.",
		"What runs at %s is ready, but sends no text messages: SNS refuses this account, or the daily budget is spent.", addr)
	return true
}

// queuePaused is how sms-dispatcher shows that it sends nothing.
var queuePaused = regexp.MustCompile(`(?m)^sallyport_sms_queue_paused(\{[^}]*\})? 1$`)

// plainNet is a network error without the request around it.
func plainNet(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// disk looks at the space that is left for the data directory.
func (e *examiner) disk(context.Context) []findings {
	f := findings{check: "disk"}
	var s syscall.Statfs_t
	if err := syscall.Statfs(e.Data, &s); err != nil {
		return nil // that there is no such directory is said by the check of the keys
	}
	free, all := uint64(s.Bavail)*uint64(s.Bsize), uint64(s.Blocks)*uint64(s.Bsize) //nolint:gosec // sizes of a file system
	text := fmt.Sprintf("%.1f of %.1f GiB are free where %s is", float64(free)/(1<<30), float64(all)/(1<<30), e.Data)
	switch {
	case free < diskFail:
		f.fail("Make room now: a store that cannot write refuses everybody.", "%s.", text)
	case free < diskWarn:
		f.warn("Make room soon: a store that cannot write refuses everybody.", "%s.", text)
	default:
		f.ok("%s.", text)
	}
	return []findings{f}
}
