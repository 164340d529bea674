package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/config"
)

// natsConfCommand is `sallyport nats-conf`.
type natsConfCommand struct{}

// Help is the long help.
func (*natsConfCommand) Help() string {
	return "Prints an account with one user per service, one for operators and one that makes streams, each with the subjects that it may use. Passwords are not in it: it names an environment variable of nats-server for each."
}

// Run prints it.
func (*natsConfCommand) Run() error {
	_, err := fmt.Print(permit.Conf())
	return err
}

// natsPrepareCommand is `sallyport nats-prepare`.
type natsPrepareCommand struct{}

// Help is the long help.
func (*natsPrepareCommand) Help() string {
	return "Run it before the services of a new version, with NATS_URL, NATS_USER=keeper and NATS_PASSWORD (each also as …_FILE), and NATS_REPLICAS=3 on a cluster. Run again, it changes nothing. The embedded NATS needs none of this."
}

// Run makes what is missing.
func (*natsPrepareCommand) Run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	vars := config.Environ()
	told, err := config.Load[struct {
		Mail
		Replicas int `env:"NATS_REPLICAS" envDefault:"1"`
	}](vars)
	if err != nil {
		return err
	}
	if told.URL == "" {
		return &config.Error{Problems: []string{"NATS_URL: must be set"}}
	}
	log, err := newLog(vars)
	if err != nil {
		return err
	}
	err = prepare(ctx, bus.Options{
		URL: told.URL, CredsFile: told.CredsFile, User: told.User, Password: told.Password, TLS: told.TLS(), Replicas: told.Replicas, Name: busName, Log: log,
	})
	if err != nil {
		return err
	}
	fmt.Println("The streams, buckets and consumers are there.")
	return nil
}
