"""The page, by Gradio: where things stand on it, and no more."""

import contextlib
import os
import tempfile

LARGEST_FILE = "512mb"


@contextlib.contextmanager
def serve(answers, host, port, open_browser=False):
    """Serves the page while a `with` block lasts.

    Nothing leaves this machine: no statistics, no fonts of others, no link from outside. What is
    uploaded lies in a folder of its own that goes with the page.

    Args:
        answers: `Answers`.
        host: Str, the address to listen at.
        port: Int.
        open_browser: Bool, whether to show the page in the browser, too. Defaults to `False`.

    Yields:
        Str, the page's address.

    Raises:
        OSError: If the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="cin_keras_demo_") as folder:
        # Gradio reads these when it is loaded.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        import gradio

        page = make_page(answers)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                inbrowser=open_browser,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
                max_file_size=LARGEST_FILE,
                theme=gradio.themes.Default(font=["sans-serif"], font_mono=["monospace"]),
            )
            yield address.rstrip("/")
        finally:
            page.close(verbose=False)


def make_page(answers):
    """The page.

    Args:
        answers: `Answers`.

    Returns:
        `gradio.Blocks`, whose function for programs is `/answer`.
    """
    import gradio

    with gradio.Blocks(title=f"cin_keras: {answers.title}", analytics_enabled=False) as page:
        with gradio.Row():
            with gradio.Column(scale=1):
                # A file, not Gradio's own image: all decoding is the package's.
                file = gradio.File(label="Photograph: drop it here", height=140, elem_id="file")
                sentence = gradio.Textbox(label="Answer", lines=2, elem_id="sentence")
                probabilities = gradio.Label(
                    label="Probabilities", show_heading=False, elem_id="probabilities"
                )
            with gradio.Column(scale=2):
                with gradio.Row():
                    plain = {"interactive": False, "buttons": [], "height": 340}
                    picture = gradio.Image(label="What the network sees", **plain)
                    decision = gradio.Image(label="What decided", elem_id="decision", **plain)
                legend = gradio.Textbox(label="Colours", elem_id="legend")
        similar = gradio.Gallery(
            label="The most similar known photographs",
            elem_id="similar",
            columns=6,
            object_fit="contain",
            interactive=False,
            buttons=[],
            visible=answers.gallery is not None,
        )
        files = gradio.Textbox(
            label="Their similarities, classes and files",
            elem_id="files",
            visible=answers.gallery is not None,
        )

        def show(path):
            if path is None:
                return "", None, None, None, "", [], ""
            answer = answers(path)
            return (
                answer.sentence,
                answer.probabilities or None,
                answer.picture,
                answer.decision,
                answer.legend,
                [(each.picture, str(each)) for each in answer.similar],
                "\n".join(map(str, answer.similar)),
            )

        outputs = [sentence, probabilities, picture, decision, legend, similar, files]
        file.change(show, file, outputs, api_name="answer", concurrency_limit=1)
    return page
