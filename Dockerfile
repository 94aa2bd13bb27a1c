# One image per component: FROM scratch, one static binary, not root.
#
#   docker build --target broker --tag gantry-broker .        the binary is built here, in the stage `build`
#   make images                                               binaries built on the host stand in for that stage
#
# Targets: broker, namesrv, operator, gantry (the command line tool).

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN RUSTFLAGS="-C target-feature=+crt-static" cargo build -p broker -p namesrv -p operator -p cli --bins --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && for binary in target/*/release/gantry*; do \
      if [ -x "$binary" ] && [ -f "$binary" ]; then strip --strip-debug -o "/$(basename "$binary")" "$binary"; fi; \
    done

FROM scratch AS broker
COPY --from=build /gantry-broker /gantry-broker
USER 65532:65532
ENTRYPOINT ["/gantry-broker"]

FROM scratch AS namesrv
COPY --from=build /gantry-namesrv /gantry-namesrv
USER 65532:65532
ENTRYPOINT ["/gantry-namesrv"]

FROM scratch AS operator
COPY --from=build /gantry-operator /gantry-operator
USER 65532:65532
ENTRYPOINT ["/gantry-operator"]

FROM scratch AS gantry
COPY --from=build /gantry /gantry
USER 65532:65532
ENTRYPOINT ["/gantry"]
