"""What OpenEnv serves: `uvicorn server.app:app`; settings are environment variables."""

from m890_envs.adapters.openenv_server import main, make_app

app = make_app()

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
