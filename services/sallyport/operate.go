package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/store"
	"sallyport/services/policy-svc/policy"
)

// site says on which installation an operator's command works. None of these needs a service or NATS: they work on the
// documents, and what they changed is told by the services when those run. An embedded store that runs is joined; one
// that does not is run on its address for as long as the command takes, so that `sallyport up` is refused meanwhile.
type site struct {
	Data  string `help:"Data directory of the installation." default:".sallyport" type:"path"`
	Store string `help:"Embedded document store. MONGODB_URI replaces it." default:"127.0.0.1:27017"`
	Keys  string `help:"Directory of the services' key files; DATA/keys by default. A KEYSET_FILE counts for the service that it names." type:"path"`
}

// vault is an installation's documents and keys while a command works on them.
type vault struct {
	site
	clock clock.Clock
	log   *slog.Logger

	uri    string
	keyset string          // KEYSET_FILE
	store  *embedded.Store // run by this command; nil where it joined one
	dbs    []*store.DB
	ends   []func(context.Context) error
}

// Bounds of an operator's command.
const (
	knockTimeout = time.Second      // for somebody who listens
	openTimeout  = 10 * time.Second // for the document store
)

// work opens the installation, does f and closes it. fresh allows a data directory that is new or empty, which gets its
// keys then; otherwise one that does not exist is refused, so that a typo makes no installation.
func (s site) work(fresh bool, f func(context.Context, *vault) error) (err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	v, err := s.open(ctx, config.Environ(), fresh)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	return f(bus.WithRequestID(ctx, bus.NewID()), v)
}

// open finds the documents: those of MONGODB_URI, those of an embedded store that runs, or those in the data directory.
func (s site) open(ctx context.Context, vars map[string]string, fresh bool) (_ *vault, err error) {
	v, err := s.lookAt(vars)
	if err != nil {
		return nil, err
	}
	if v.log, err = newLog(vars); err != nil {
		return nil, err
	}
	s = v.site
	if fresh {
		if err := s.makeKeys(); err != nil {
			return nil, err
		}
	}
	// A demo's clock is ahead of the host's: what happens now must not lie in its past.
	if v.clock, err = clock.OpenVirtual(filepath.Join(s.Data, "clock.json")); err != nil {
		return nil, err
	}
	if v.uri != "" {
		return v, nil
	}
	if _, err := os.Stat(s.Data); err != nil {
		return nil, wrong("--data %s: there is no installation here (%v); MONGODB_URI is not set either", s.Data, errors.Unwrap(err))
	}
	if listens(ctx, s.Store) {
		v.uri = embeddedURI(s.Store)
		return v, s.serves(ctx, v)
	}
	if _, err := os.Stat(filepath.Join(s.Data, "store")); err != nil && !fresh {
		return nil, wrong("--data %s: there are no documents here; where they are in a MongoDB, set MONGODB_URI", s.Data)
	}
	v.store, err = embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(s.Data, "store"), Addr: s.Store, Log: v.log})
	if err != nil {
		if held, looked := locked(filepath.Join(s.Data, "store", ".lock")); held && looked == nil {
			return nil, wrong("sallyport runs on this data; name the --store that it was started with (--data %s is in use, and nobody listens at %s)", s.Data, s.Store)
		}
		return nil, fmt.Errorf("--data %s: %w", s.Data, err)
	}
	v.uri = v.store.URI()
	return v, nil
}

// lookAt takes in what the environment says. On error the vault knows at least where the keys are.
func (s site) lookAt(vars map[string]string) (*vault, error) {
	told, err := config.Load[struct {
		URI    secret.String `env:"MONGODB_URI"`
		Keyset string        `env:"KEYSET_FILE"`
	}](vars)
	if bad := store.CheckURI(told.URI.Reveal()); err == nil && !told.URI.Empty() && bad != nil {
		err = &config.Error{Problems: []string{"MONGODB_URI: " + bad.Error()}}
	}
	s.Keys = first(s.Keys, filepath.Join(s.Data, "keys"))
	return &vault{site: s, uri: told.URI.Reveal(), keyset: told.Keyset, clock: clock.System(), log: slog.New(slog.DiscardHandler)}, err
}

// embeddedURI is how the embedded store at an address is reached; see [embedded.Store.URI].
func embeddedURI(addr string) string {
	return "mongodb://" + addr + "/?directConnection=true&retryWrites=false"
}

// makeKeys makes what `sallyport up` makes on its first start.
func (s site) makeKeys() error {
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	kept, err := hasData(s.Data)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if _, err := seal.Generate(s.Keys, services(), kept); err != nil {
		return wrong("--data %s: %v", s.Data, err)
	}
	return nil
}

// listens tells whether anybody listens where an embedded part would.
func listens(ctx context.Context, addr string) bool {
	conn, err := (&net.Dialer{Timeout: knockTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was a knock
	return true
}

// serves makes sure that who listens serves this data directory. An embedded store holds the lock of its directory for
// as long as it answers, so a lock that is free says that this is somebody else's.
func (s site) serves(ctx context.Context, v *vault) error {
	if _, err := v.db(ctx, contract.Policy); err != nil {
		return err
	}
	held, err := locked(filepath.Join(s.Data, "store", ".lock"))
	if err == nil && !held {
		err = wrong("--store %s: what listens there does not use --data %s; name the store of this installation, or a free address", s.Store, s.Data)
	}
	if err != nil {
		return errors.Join(err, v.close())
	}
	return nil
}

// locked tells whether a process holds the lock of a directory; where there is no such file, nobody does.
func locked(path string) (bool, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("--data: %w", err)
	}
	defer f.Close() //nolint:errcheck // gives a lock back that was ours for an instant
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("--data: %w", err)
	}
	return false, nil
}

// db connects to the database of a service, until the vault is closed.
func (v *vault) db(ctx context.Context, s contract.Service) (*store.DB, error) {
	bound, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := store.Connect(bound, store.Options{URI: v.uri, Database: store.Database(s), Name: "sallyport", Log: v.log})
	if err != nil {
		return nil, err
	}
	v.dbs = append(v.dbs, db)
	return db, nil
}

// policy opens what policy-svc does for an operator.
func (v *vault) policy(ctx context.Context) (*policy.Office, error) {
	keys, err := v.keys(contract.Policy)
	if err != nil {
		return nil, err
	}
	db, err := v.db(ctx, contract.Policy)
	if err != nil {
		return nil, err
	}
	office, err := policy.OpenOffice(ctx, db, keys)
	if err != nil {
		return nil, err
	}
	v.before(office.Close)
	return office.At(v.clock), nil
}

// before adds what must end before the databases are closed.
func (v *vault) before(f func(context.Context) error) { v.ends = append(v.ends, f) }

// keys loads those of a service.
func (v *vault) keys(s contract.Service) (*seal.Keys, error) {
	keys, err := seal.Load(v.keyFile(s), s)
	if err != nil {
		return nil, wrong("%v", err)
	}
	return keys, nil
}

// keyFile is where the keys of a service are.
func (v *vault) keyFile(s contract.Service) string {
	if v.keyset != "" {
		raw, err := os.ReadFile(v.keyset)
		var f struct {
			Service contract.Service `json:"service"`
		}
		if err != nil || json.Unmarshal(raw, &f) != nil || f.Service == s {
			return v.keyset // one that cannot be read is named when it is loaded
		}
	}
	return filepath.Join(v.Keys, string(s)+".json")
}

// close gives everything back.
func (v *vault) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), service.StopTimeout)
	defer cancel()
	var errs []error
	for _, end := range v.ends {
		errs = append(errs, end(ctx))
	}
	for _, db := range v.dbs {
		errs = append(errs, db.Close(ctx))
	}
	v.ends, v.dbs = nil, nil
	if v.store != nil {
		errs = append(errs, v.store.Close(ctx))
		v.store = nil
	}
	return errors.Join(errs...)
}

// actor is who runs this command, as the audit log names them: the person behind sudo, where there is one.
func actor() string {
	name := ""
	if os.Getuid() == 0 {
		name = os.Getenv("SUDO_USER")
	}
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		} else {
			name = "uid-" + strconv.Itoa(os.Getuid())
		}
	}
	const longest = 100
	return "operator:" + name[:min(len(name), longest)]
}

// wrong is an error of a flag, an argument or a setting: status 2.
func wrong(format string, args ...any) error {
	return misuse{&config.Error{Problems: []string{fmt.Sprintf(format, args...)}}}
}

// misuse says what is wrong without a word about settings, because it is mostly an argument.
type misuse struct{ of *config.Error }

// Error returns one line per problem.
func (m misuse) Error() string { return strings.Join(m.of.Problems, "\n") }

// Unwrap returns the error that decides the exit status.
func (m misuse) Unwrap() error { return m.of }

// printJSON prints a value for a script.
func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
