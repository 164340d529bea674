// Package deploy answers: would what deploy/ and k8s/ ship start, and with no more rights than it says?
//
// Manifests are rendered by kustomize and decoded strictly into the types of their APIs; the Compose file is read by
// Compose's own parser, and what it starts is started here: three NATS servers and the four services, each in an empty
// root as nobody, which is what a container from scratch is.
package deploy
