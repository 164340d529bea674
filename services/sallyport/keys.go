package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport/pkg/clock"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/service"
)

// keysCommands are `sallyport keys …`.
type keysCommands struct {
	Status keysStatusCommand `cmd:"" help:"Which keys there are, which one seals, and how many stored values still need an old one."`
	Rotate keysRotateCommand `cmd:"" help:"Make new keys and seal with them from now on; services that run take them in and re-seal what they keep."`
	Retire keysRetireCommand `cmd:"" help:"Take out old keys that nothing needs any more."`
	Wrap   keysWrapCommand   `cmd:"" help:"Have a key of AWS KMS wrap the key files, which are in clear otherwise."`
	Unwrap keysUnwrapCommand `cmd:"" help:"Write key files in clear that a key of AWS KMS wraps."`
}

// keyring says which keysets a command works on.
type keyring struct {
	site
	Service string `help:"Of this service only." enum:",auth-gateway,totp-svc,sms-dispatcher,policy-svc" default:""`
	Keyset  string `help:"Of this keyset only: store, which seals what a service keeps, or bus, which seals secrets in messages and is shared by the services." enum:",store,bus" default:""`
}

// groups are the keysets.
func (k keyring) groups() ([]seal.Group, error) {
	if k.Keyset == string(seal.Bus) && k.Service != "" {
		return nil, wrong("--service %s: the bus keyset is one for all services; leave --service out", k.Service)
	}
	var out []seal.Group
	if k.Keyset != string(seal.Bus) {
		for _, s := range services() {
			if k.Service == "" || contract.Service(k.Service) == s {
				out = append(out, seal.Group{Service: s})
			}
		}
	}
	if k.Keyset != string(seal.Store) && k.Service == "" {
		out = append(out, seal.Group{})
	}
	return out, nil
}

// named is a keyset for a person.
func named(g seal.Group) string {
	if g.Service == "" {
		return "bus (all services)"
	}
	return string(g.Name()) + " of " + string(g.Service)
}

// locker is the key files while a command changes them.
type locker struct {
	*seal.Files
	vault *vault
}

// keyFiles are where those of all services are.
func (v *vault) keyFiles() map[contract.Service]string {
	paths := make(map[contract.Service]string)
	for _, s := range services() {
		paths[s] = v.keyFile(s)
	}
	return paths
}

// change locks the key files and does f. It needs no service.
func (s site) change(f func(context.Context, locker) error) (err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	v, err := s.lookAt(config.Environ())
	if err != nil {
		return err
	}
	if v.clock, err = clock.OpenVirtual(filepath.Join(s.Data, "clock.json")); err != nil {
		return err
	}
	if _, err := os.Stat(v.Keys); err != nil {
		return wrong("--keys %s: there are no key files here (%v)", v.Keys, errors.Unwrap(err))
	}
	files, err := seal.LockFiles(ctx, v.Keys, v.keyFiles())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	return f(ctx, locker{files, v})
}

// keysRotateCommand is `sallyport keys rotate`.
type keysRotateCommand struct {
	keyring
	Stage string `help:"Only the first step (add: the new keys are there, and seal nothing yet) or the second (use: they seal). For key files that are distributed to other places in between." enum:",add,use" default:""`
}

// Help is the long help.
func (*keysRotateCommand) Help() string {
	return "New keys are added to every key file, and seal a few seconds later; old ones stay and open what they sealed. Nothing stops meanwhile. Services that run re-seal in background: `sallyport keys status` says how far they are, and afterwards `sallyport keys retire` takes the old keys out. " +
		"It may be killed at any moment: run again, it finishes what was begun."
}

// settle is how long a new key lies in the files before it seals: every service has looked by then.
const settle = 2 * service.KeysEvery

// Run rotates.
func (c *keysRotateCommand) Run() error {
	groups, err := c.groups()
	if err != nil {
		return err
	}
	return c.change(func(ctx context.Context, l locker) error {
		if c.Stage == "use" {
			if i, err := seal.Begun(l.vault.Keys); err != nil || len(i.Groups) == 0 {
				return errors.Join(err, wrong("--stage use: no rotation is begun here; --stage add comes first"))
			}
		}
		begun, err := seal.Begun(l.vault.Keys)
		if err != nil {
			return err
		}
		about := groups
		if len(begun.Groups) > 0 {
			about = begun.Groups
		}
		if err := c.record(strings.TrimSpace("rotate "+c.Stage), about); err != nil {
			return err
		}
		intent, resumed, err := l.Begin(groups, l.vault.clock.Now())
		if err != nil {
			return err
		}
		if resumed && c.Stage == "" {
			fmt.Printf("The rotation that was begun at %s is finished now; no other one is begun.\n", intent.BeganAt.Format(time.RFC3339))
		}
		var open []seal.Group
		for _, g := range intent.Groups {
			done, err := l.Finished(g)
			if err != nil {
				return err
			}
			if !done {
				open = append(open, g)
			}
		}
		if c.Stage != "use" {
			if err := l.add(ctx, open); err != nil {
				return err
			}
		}
		if c.Stage == "add" {
			fmt.Println("\nNothing is sealed with the new keys yet. Give the key files to every service, wait until each has taken them in\n(sallyport_seal_keys is 2 or more everywhere), and run `sallyport keys rotate --stage use`.")
			return nil
		}
		if c.Stage == "" && len(open) > 0 {
			if err := pause(ctx, settle); err != nil {
				return err
			}
		}
		if err := l.heard(c.site, open); err != nil {
			return err
		}
		if err := l.use(ctx, open); err != nil {
			return err
		}
		return l.End()
	})
}

func (l locker) add(ctx context.Context, groups []seal.Group) error {
	for _, g := range groups {
		id, err := l.Add(ctx, g.Name(), g.Service)
		if err != nil {
			return err
		}
		fmt.Printf("%s: key %d is added.\n", named(g), id)
	}
	return nil
}

func (l locker) use(ctx context.Context, groups []seal.Group) error {
	for _, g := range groups {
		id, err := l.Use(ctx, g.Name(), g.Service, l.vault.clock.Now())
		if err != nil {
			return err
		}
		if id != 0 {
			fmt.Printf("%s: key %d seals from now on.\n", named(g), id)
		}
	}
	return nil
}

// pause waits, unless somebody ends the command.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return errors.New("interrupted; run it again to finish the rotation")
	case <-t.C:
		return nil
	}
}

// keysWrapCommand is `sallyport keys wrap`.
type keysWrapCommand struct {
	site
	Service string `help:"Of this service only." enum:",auth-gateway,totp-svc,sms-dispatcher,policy-svc" default:""`
	KMS     string `name:"kms" required:"" help:"The key, such as aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-…"`
}

// Help is the long help.
func (*keysWrapCommand) Help() string {
	return "The same keys are written again, encrypted under a key that never leaves AWS KMS. A service asks KMS when it starts and when its file changes, and never in between. " +
		"The credentials are those of the AWS SDK: environment, shared files, roles. What lay there in clear may still be on the disk and in backups; after the first wrapping, rotate and retire."
}

// Run wraps.
func (c *keysWrapCommand) Run() error {
	if err := seal.CheckKMS(c.KMS); err != nil {
		return wrong("--kms: %v", err)
	}
	return c.rewrap("wrap", c.Service, c.KMS, "wrapped by "+c.KMS)
}

// keysUnwrapCommand is `sallyport keys unwrap`.
type keysUnwrapCommand struct {
	site
	Service string `help:"Of this service only." enum:",auth-gateway,totp-svc,sms-dispatcher,policy-svc" default:""`
}

// Run unwraps.
func (c *keysUnwrapCommand) Run() error { return c.rewrap("unwrap", c.Service, "", "in clear") }

func (s site) rewrap(what, only, kms, how string) error {
	return s.change(func(ctx context.Context, l locker) error {
		var about []contract.Service
		var files []seal.Group
		for _, name := range services() {
			if only == "" || contract.Service(only) == name {
				about, files = append(about, name), append(files, seal.Group{Service: name})
			}
		}
		if err := s.record(what, files); err != nil {
			return err
		}
		for _, name := range about {
			if err := l.Wrap(ctx, name, kms); err != nil {
				return err
			}
			fmt.Printf("The key file of %s is %s.\n", name, how)
		}
		return nil
	})
}

// ids writes key ids.
func ids(all []uint32) string {
	out := make([]string, len(all))
	for i, id := range all {
		out[i] = fmt.Sprint(id)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
