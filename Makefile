# Short names for the commands that CONTRIBUTING.md describes.

.PHONY: build demo e2e golden lint short test

build:
	go build -o pipeline ./cmd/pipeline

demo:
	go run ./cmd/pipeline demo

test:
	go test -timeout 80m ./...

short:
	go test -short ./...

e2e:
	go test -timeout 60m ./test/e2e

lint:
	go tool -modfile=tools/go.mod golangci-lint run

# Everything that is written by a test with -update.
golden:
	go test ./internal/config -run UpToDate -update
	go test ./deploy -run 'TestDocsHaveTheSteps|TestPlannedSteps' -update
	go test ./internal/cli -update
	go test ./internal/archtest -update
	go test -short ./ci/progress -update
